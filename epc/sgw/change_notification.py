"""Change Notification: the PGW wanted to know where the UE is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure
from epc.sgw.context import UeContext
from epc.wire.gtpv2 import Cause, CauseValue, ChangeNotificationRequest, ChangeNotificationResponse

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clause 5.9.2, TS 29.274 clause 7.3.14", starts_on=ChangeNotificationRequest)
async def change_notification(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, ChangeNotificationRequest)
    async with answering(sgw.s11, received, lambda: ue.s11_mme_teid):
        connections = [each for ebi, each in ue.connections.items() if request.linked_ebi in (None, ebi)]
        if not connections:
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND), f"no PDN connection with default bearer {request.linked_ebi}")
        connection = connections[0]
        if sgw.charging is not None:
            for each in connections:
                sgw.charging.changed(each, request)
        onward = replace(request, pgw_address=None, unknown=())
        packet = await sgw.s5.request(connection.pgw, connection.s5c_pgw_teid, onward, sgw.t3_s5)
        answer = packet.message
        assert isinstance(answer, ChangeNotificationResponse)
        sgw.s11.respond(received, replace(answer, unknown=()), ue.s11_mme_teid)
