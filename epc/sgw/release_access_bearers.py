"""Release Access Bearers: the UE becomes idle, its downlink packets wait here (S1 Release)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure
from epc.sgw.context import UeContext
from epc.wire.gtpv2 import Cause, CauseValue, ReleaseAccessBearersRequest, ReleaseAccessBearersResponse

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clause 5.3.5, TS 29.274 clause 7.2.21", starts_on=ReleaseAccessBearersRequest)
async def release_access_bearers(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    for connection in ue.connections.values():
        for ebi in connection.bearers:
            sgw.set_downlink(connection, ebi, None, notify=True)
    sgw.s11.respond(received, ReleaseAccessBearersResponse(cause=Cause(value=CauseValue.REQUEST_ACCEPTED)), ue.s11_mme_teid)
