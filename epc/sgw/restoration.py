"""What becomes of PDN connections whose peer has lost them, or which a peer must be told are lost (TS 23.007)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from epc.procedure import procedure
from epc.sgw.context import PdnConnection, UeContext
from epc.transport.interface import Address
from epc.wire.gtpv2 import (
    Cause,
    CauseValue,
    DeleteBearerRequest,
    DeleteSessionRequest,
    PgwRestartNotification,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


def mme_restarted(sgw: Sgw, ues: Iterable[UeContext]) -> None:
    """Their MME knows nothing of them any more: they are removed here and at their PGWs (TS 23.007 clause 17.1)."""
    for ue in ues:
        for connection in list(ue.connections.values()):
            sgw.remove(connection)
            end_at_pgw(sgw, connection)


def pgw_restarted(sgw: Sgw, host: str, connections: Iterable[PdnConnection]) -> None:
    """Their PGW knows nothing of them any more: they are removed here, and each MME is told once (TS 23.007 clause 17.2)."""
    mmes = set()
    for connection in connections:
        mmes.add(connection.ue.mme)
        sgw.remove(connection)
    for mme in mmes:
        sgw.runner.start(pgw_restart_notification, sgw, mme, host)


def end_at_pgw(sgw: Sgw, connection: PdnConnection) -> None:
    """Delete at the PGW what is deleted here already; nobody waits for it."""
    sgw.runner.start(delete_session_at_pgw, sgw, connection.pgw, connection.s5c_pgw_teid, connection.linked_ebi)


@procedure(spec="TS 29.274 clause 7.2.9.1")
async def delete_session_at_pgw(sgw: Sgw, pgw: Address, s5c_pgw_teid: int, linked_ebi: int) -> None:
    await sgw.s5.request(pgw, s5c_pgw_teid, DeleteSessionRequest(linked_ebi=linked_ebi), sgw.t3_s5)


@procedure(spec="TS 29.274 clause 7.9.5")
async def pgw_restart_notification(sgw: Sgw, mme: Address, pgw_host: str) -> None:
    notification = PgwRestartNotification(
        pgw_address=ip_address(pgw_host), sgw_address=ip_address(sgw.config.s11.host), cause=Cause(value=CauseValue.PGW_NOT_RESPONDING)
    )
    await sgw.s11.request(mme, 0, notification)


async def end_at_mme(sgw: Sgw, mme: Address, s11_mme_teid: int, linked_ebi: int, ebi: int) -> None:
    """Delete Bearer Request for a bearer that is gone here: the whole PDN connection if it is the default one."""
    if ebi == linked_ebi:
        request = DeleteBearerRequest(linked_ebi=linked_ebi, cause=Cause(value=CauseValue.REACTIVATION_REQUESTED))
    else:
        request = DeleteBearerRequest(ebis=(ebi,))
    await sgw.s11.request(mme, s11_mme_teid, request)
