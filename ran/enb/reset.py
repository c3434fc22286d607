"""Reset (TS 36.413 clause 8.7.1), in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Timer, procedure
from epc.wire.s1ap import Cause, Reset, ResetAcknowledge, ResetType, UEassociatedLogicalS1ConnectionItem
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb

_RESET_REPETITIONS = 3


def reset(enb: Enb, link: MmeLink, message: Reset) -> None:
    """The MME resets: the contexts it means are released here, and each connection it named is named in the answer."""
    named = message.reset_type.value
    if isinstance(named, tuple):
        for item in named:
            ue = find(enb, link, item)
            if ue is not None:
                enb.drop_context(ue)
        link.send(ResetAcknowledge(ue_associated_logical_s1_connection_list_res_ack=named))
        return
    for ue in enb.ues:
        if ue.link is link:
            enb.drop_context(ue)
    link.send(ResetAcknowledge())


def find(enb: Enb, link: MmeLink, item: UEassociatedLogicalS1ConnectionItem) -> UeContext | None:
    """By the eNodeB's identity, else by the MME's; a pair must fit (TS 36.413 clause 8.7.1.2.1)."""
    if item.enb_ue_s1ap_id is None:
        return enb.ues.of_mme(link, item.mme_ue_s1ap_id) if item.mme_ue_s1ap_id is not None else None
    ue = enb.ues.get(item.enb_ue_s1ap_id)
    if ue is None or ue.link is not link or (item.mme_ue_s1ap_id is not None and item.mme_ue_s1ap_id != ue.mme_ue_s1ap_id):
        return None
    return ue


@procedure(spec="TS 36.413 clause 8.7.1.2.2")
async def reset_mme(enb: Enb, link: MmeLink, cause: Cause) -> None:
    """The eNodeB resets everything on this interface: it forgets its contexts and has the MME forget them too."""
    for ue in enb.ues:
        if ue.link is link:
            enb.drop_context(ue)
    await link.dialogue.request(
        Reset(cause=cause, reset_type=ResetType("s1-Interface", "reset-all")), ResetAcknowledge,
        timer=Timer("Reset", enb.config.timers.reset_s, _RESET_REPETITIONS))
