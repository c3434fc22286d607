"""GTP-U Error Indication: the far end of a tunnel has forgotten it (TS 23.007 clauses 21 and 22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import procedure
from epc.sgw.context import PdnConnection
from epc.sgw.downlink_data_notification import downlink_data_notification
from epc.sgw.restoration import end_at_mme
from epc.wire.gtpv2 import Cause, CauseValue

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.007 clause 22")
async def enodeb_lost_tunnel(sgw: Sgw, connection: PdnConnection, ebi: int) -> None:
    """The UE counts as idle, and there are packets for it: it is paged, with the reason."""
    ue = connection.ue
    if not sgw.is_established(connection) or ebi not in connection.bearers:
        return
    for each in ue.connections.values():
        for each_ebi in each.bearers:
            sgw.set_downlink(each, each_ebi, None)
    if not ue.is_paging:
        ue.is_paging = True
        sgw.runner.start(downlink_data_notification, sgw, connection, ebi, Cause(value=CauseValue.ERROR_INDICATION_RECEIVED))


@procedure(spec="TS 23.007 clause 21")
async def pgw_lost_tunnel(sgw: Sgw, connection: PdnConnection, ebi: int) -> None:
    """The bearer is gone, the PDN connection with it if it is the default one; the MME is told."""
    if not sgw.is_established(connection) or ebi not in connection.bearers:
        return
    ue = connection.ue
    if ebi == connection.linked_ebi:
        sgw.remove(connection)
    else:
        sgw.remove_bearer(connection, ebi)
    await end_at_mme(sgw, ue.mme, ue.s11_mme_teid, connection.linked_ebi, ebi)
