"""Calling a phone that is idle: TS 23.401 clause 5.3.4.3, TS 24.301 clause 5.6.2, TS 36.413 clause 8.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from epc.procedure import Dialogue
from epc.wire import s1ap

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@dataclass(frozen=True, slots=True)
class PagingAnswered:
    """The phone has a signalling connection again."""


async def page(mme: Mme, ue: UeContext) -> None:
    """Page in all tracking areas that the phone may be in, until it answers; raises ``TimerExpired`` (T3413)."""
    if ue.m_tmsi is None:
        raise ConnectionError("the phone has no temporary identity to be paged with")
    ue.paged = Dialogue(mme.broadcast_paging)
    try:
        await ue.paged.request(_paging(mme, ue, ue.m_tmsi), PagingAnswered, timer=mme.timers.t3413)
    finally:
        ue.paged = None


def _paging(mme: Mme, ue: UeContext, m_tmsi: int) -> s1ap.Paging:
    return s1ap.Paging(
        ue_identity_index_value=s1ap.BitString(int(ue.known_imsi) % 1024, 10),      # TS 36.304 clause 7.1
        ue_paging_id=s1ap.UEPagingID("s-TMSI", s1ap.STMSI(
            mmec=bytes((mme.config.gummeis[0].mme_code,)), m_tmsi=m_tmsi.to_bytes(4, "big"))),
        cn_domain="ps",
        tai_list=tuple([
            s1ap.TAIItem(tai=s1ap.TAI(plmn_identity=s1ap.encode_plmn_identity(tai.plmn), tac=tai.tac.to_bytes(2, "big")))
            for tai in mme.tai_list.tais]))
