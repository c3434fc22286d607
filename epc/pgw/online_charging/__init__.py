"""Online charging at the PGW: the credit-control client on Gy (TS 32.251 clause 5.3, TS 32.299 clause 6.4, RFC 8506; release 15).

* ``client``: connections to the OCSs; what happens to a session comes in there.
* ``session``: what is charged to whom, and at which stage each charging key is. No I/O.
* ``quota``: what the OCS grants, read from its answer and written as a URR.
* ``enforcement``: stages as rules for the forwarder: counted, held, blocked, redirected.
* ``requests``: Credit-Control-Requests with the exact usage since the last one.
* ``triggers``: changes of the rating condition that the OCS wants to hear of.
* ``credit_control``: the procedures: open, update, terminate; what becomes of users when the OCS does not answer.
* ``re_auth``: what the OCS asks for: report now, or end the session.
"""

from epc.pgw.online_charging.client import GyClient
from epc.pgw.online_charging.credit_control import open_credit_session
from epc.pgw.online_charging.session import OnlineSession

__all__ = ["GyClient", "OnlineSession", "open_credit_session"]
