"""Paging (TS 36.413 clause 8.5): every cell in the given tracking areas broadcasts the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.errors import WireError
from epc.wire.identity import decode_tbcd
from epc.wire.s1ap import STMSI, Paging
from ran.enb.identity import tai
from ran.enb.radio import PagingRecord, STmsi

if TYPE_CHECKING:
    from ran.enb.node import Enb


def paging(enb: Enb, message: Paging) -> None:
    record = paging_record(message)
    if record is None:
        return
    wanted = {(item.tai.plmn_identity, item.tai.tac) for item in message.tai_list}
    for cell in enb.cells:
        areas = [tai(cell.information, plmn) for plmn in cell.information.plmns]
        if any((area.plmn_identity, area.tac) in wanted for area in areas):
            cell.page(record)


def paging_record(message: Paging) -> PagingRecord | None:
    """``None`` for an identity of a kind or form that no UE has."""
    identity = message.ue_paging_id.value
    if isinstance(identity, STMSI):
        return PagingRecord(s_tmsi=STmsi(identity.mmec[0], int.from_bytes(identity.m_tmsi, "big")), domain=message.cn_domain)
    if isinstance(identity, bytes) and message.ue_paging_id.choice == "iMSI":
        try:
            return PagingRecord(imsi=decode_tbcd(identity), domain=message.cn_domain)
        except WireError:
            return None
    return None
