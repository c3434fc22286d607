"""Bearers at the eNodeB end, the phone stays connected: TS 36.413 clause 8.2.3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from epc.wire import s1ap

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.s1_connection import S1Connection

_NORMAL_RELEASE = s1ap.Cause("nas", "normal-release")


async def erab_release(mme: Mme, connection: S1Connection, ebis: Iterable[int], nas_pdu: bytes | None = None) -> None:
    """Raises ``TimerExpired`` when the eNodeB says nothing; whatever it says, the bearers are gone."""
    released = tuple([s1ap.ERABItem(e_rab_id=ebi, cause=_NORMAL_RELEASE) for ebi in ebis])
    connection.e_rabs.difference_update([item.e_rab_id for item in released])
    await connection.s1.request(
        s1ap.ERABReleaseCommand(
            mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id, e_rab_to_be_released_list=released,
            nas_pdu=nas_pdu),
        s1ap.ERABReleaseResponse, timer=mme.timers.s1_response)
