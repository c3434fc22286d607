"""EPS authentication and key agreement, the UE's part: TS 24.301 clause 5.4.2.

Simplified: a running T3410, T3417, T3421 or T3430 goes on during a failed authentication instead of pausing (clause 5.4.2.7 c to e).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from epc.peer.nas_security import NasSecurityContext
from epc.security.usim import MacFailure, NonEpsAuthentication, SynchFailure
from epc.security.usim import Success as Authenticated
from epc.wire import nas
from ran.ue.state import EmmState, EmmSubstate, UpdateStatus
from ran.ue.timers import T3416, T3418, T3420

if TYPE_CHECKING:
    from ran.ue.ue import Ue

_FAILURES_BEFORE_THE_NETWORK_IS_FALSE = 3       # clause 5.4.2.7, note on consecutive failures


class PartialContext(NamedTuple):
    """A partial native EPS security context: keys of the latest AKA, not yet taken into use (TS 33.401 clause 3.1)."""

    ksi: int
    kasme: bytes


class AuthenticationState:
    """What outlives one challenge. ``candidate`` is the context that a SECURITY MODE COMMAND was verified with, until it is answered."""

    __slots__ = ("candidate", "failures", "partial", "rand", "response")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.rand = b""
        self.response: nas.AuthenticationResponse | None = None
        self.partial: PartialContext | None = None
        self.candidate: NasSecurityContext | None = None
        self.failures = 0


def answer(ue: Ue, request: nas.AuthenticationRequest) -> None:
    """Prove the SIM to the network, if the network proved itself; else say what is wrong with its challenge."""
    state = ue.authentication
    ue.stop_timer(T3418)
    ue.stop_timer(T3420)
    if state.response is not None and request.rand == state.rand:
        # clause 5.4.2.2: a challenge that is repeated gets the same answer; the USIM would call it a replay
        ue.send_emm(state.response)
        return
    match ue.sim.usim.authenticate(request.rand, request.autn, ue.tai.plmn):
        case Authenticated(res=res, kasme=kasme):
            if ue.behaviour.wrong_res:
                res = res[:-1] + bytes((res[-1] ^ 1,))
            state.failures = 0
            state.partial = PartialContext(request.nas_key_set_identifier.value, kasme)
            state.rand, state.response = request.rand, nas.AuthenticationResponse(res=res)
            ue.start_timer(T3416, lambda: _forget_response(state))
            ue.send_emm(state.response)
        case MacFailure():
            _failed(ue, nas.AuthenticationFailure(emm_cause=nas.EmmCause.MAC_FAILURE))
        case NonEpsAuthentication():
            _failed(ue, nas.AuthenticationFailure(emm_cause=nas.EmmCause.NON_EPS_AUTHENTICATION_UNACCEPTABLE))
        case SynchFailure(auts=auts):
            _failed(ue, nas.AuthenticationFailure(emm_cause=nas.EmmCause.SYNCH_FAILURE, auts=auts))


def _forget_response(state: AuthenticationState) -> None:
    state.rand, state.response = b"", None


def _failed(ue: Ue, message: nas.AuthenticationFailure) -> None:
    """Abnormal cases c, d and e: the network gets T3418 or T3420 to come with a better challenge."""
    state = ue.authentication
    state.failures += 1
    if state.failures >= _FAILURES_BEFORE_THE_NETWORK_IS_FALSE:
        _network_is_false(ue)
        return
    ue.start_timer(T3420 if message.emm_cause == nas.EmmCause.SYNCH_FAILURE else T3418, lambda: _network_is_false(ue))
    ue.send_emm(message)


def _network_is_false(ue: Ue) -> None:
    """The network did not pass the authentication check: leave the cell alone (clause 5.4.2.7, TS 36.331 clause 5.3.1.3)."""
    ue.tell("message_discarded", reason="the network did not pass the authentication check")
    ue.lose_radio()


def rejected(ue: Ue, message: nas.AuthenticationReject) -> None:
    """AUTHENTICATION REJECT: the SIM is invalid until the UE is switched off (clause 5.4.2.5)."""
    ue.update_status = UpdateStatus.EU3_ROAMING_NOT_ALLOWED
    ue.sim.valid = False
    ue.forget_registration()
    ue.release_bearers()
    ue.enter(EmmState.DEREGISTERED, EmmSubstate.NO_IMSI)
    ue.emm.feed(message)
