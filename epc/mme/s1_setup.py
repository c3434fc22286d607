"""An eNodeB introduces itself: TS 36.413 clause 8.7.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import s1ap
from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.mme.s1_association import S1Association


def s1_setup(association: S1Association, request: s1ap.S1SetupRequest) -> None:
    """Accept an eNodeB with at least one tracking area that the MME serves; a second S1 Setup wipes what was before it."""
    mme = association.mme
    try:
        tais = supported_tais(request.supported_tas)
        association.enb_id = enb_identity(request.global_enb_id)
    except WireError as error:
        mme.log.info("s1_setup.refused", reason=str(error))
        association.send(s1ap.S1SetupFailure(cause=s1ap.Cause("protocol", "semantic-error")))
        return
    for connection in list(association.connections.values()):
        mme.lose_connection(connection, "the eNodeB has set up S1 anew")
    association.name = request.enb_name or ""
    association.supported_tais = tais
    association.is_set_up = bool(tais & mme.served_tais)
    if not association.is_set_up:
        mme.log.info("s1_setup.refused", enb=str(association), reason="no common tracking area", tais=sorted(tais))
        association.send(s1ap.S1SetupFailure(cause=s1ap.Cause("misc", "unknown-PLMN"), time_to_wait="v10s"))
        return
    mme.log.info("s1_setup.done", enb=str(association), enb_id=association.enb_id)
    association.send(mme.s1_setup_response)


def supported_tais(supported_tas: tuple[s1ap.SupportedTAsItem, ...]) -> frozenset[tuple[str, int]]:
    """PLMN and TAC of every tracking area; raises ``WireError`` for a PLMN that is none."""
    return frozenset([
        (s1ap.decode_plmn_identity(plmn), int.from_bytes(item.tac, "big")) for item in supported_tas for plmn in item.broadcast_plmns])


def enb_identity(global_enb_id: s1ap.GlobalENBID) -> str:
    """For people: 001-01 macro eNodeB 0x12345."""
    plmn = s1ap.decode_plmn_identity(global_enb_id.plmn_identity)
    return f"{plmn[:3]}-{plmn[3:]}-{global_enb_id.enb_id.choice.removesuffix('ENB-ID').rstrip('-')}-{global_enb_id.enb_id.value.value:x}"
