"""UE Context Release (TS 36.413 clauses 8.3.2 and 8.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Timer, TimerExpired, procedure
from epc.wire.s1ap import Cause, UEContextReleaseCommand, UEContextReleaseComplete, UEContextReleaseRequest, UES1APIDpair
from ran.enb.causes import UNKNOWN_PAIR
from ran.enb.error_indication import send_error_indication
from ran.enb.radio import ReleaseCause
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb


@procedure(spec="TS 36.413 clause 8.3.3", starts_on=UEContextReleaseCommand)
async def ue_context_release(enb: Enb, ue: UeContext, command: UEContextReleaseCommand) -> None:
    """The MME releases: radio and tunnels go, the answer tells that they are gone."""
    mme_ue_s1ap_id, enb_ue_s1ap_id = identities(command)
    cause = command.cause.value
    enb.remove_context(ue, ReleaseCause.LOAD_BALANCING_TAU_REQUIRED if cause == "load-balancing-tau-required" else ReleaseCause.OTHER)
    ue.send(UEContextReleaseComplete(mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id if enb_ue_s1ap_id is None else enb_ue_s1ap_id))


@procedure(spec="TS 36.413 clause 8.3.2")
async def ue_context_release_request(enb: Enb, ue: UeContext, cause: Cause) -> None:
    """The eNodeB wants to release: ask the MME, and do it alone when no command comes."""
    if ue.mme_ue_s1ap_id is None:
        enb.remove_context(ue)      # the MME never answered: there is nothing to release over there
        return
    ue.send(UEContextReleaseRequest(mme_ue_s1ap_id=ue.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, cause=cause))
    try:
        command = await ue.dialogue.wait(UEContextReleaseCommand, timer=Timer("UE Context Release", enb.config.timers.release_s))
    except TimerExpired:
        enb.remove_context(ue)
        raise
    await ue_context_release.run(enb, ue, command)


def identities(command: UEContextReleaseCommand) -> tuple[int, int | None]:
    """MME and eNB UE S1AP ID; an MME that never got the eNodeB's sends its own alone."""
    value = command.ue_s1ap_ids.value
    if isinstance(value, UES1APIDpair):
        return value.mme_ue_s1ap_id, value.enb_ue_s1ap_id
    return (value, None) if isinstance(value, int) else (0, None)


def find(enb: Enb, link: MmeLink, command: UEContextReleaseCommand) -> UeContext | None:
    """The context that the command means; an unknown one is reported to the MME (TS 36.413 clause 10.6)."""
    mme_ue_s1ap_id, enb_ue_s1ap_id = identities(command)
    ue = enb.ues.of_mme(link, mme_ue_s1ap_id) if enb_ue_s1ap_id is None else enb.ues.get(enb_ue_s1ap_id)
    if ue is None or ue.link is not link or ue.mme_ue_s1ap_id not in (None, mme_ue_s1ap_id):
        send_error_indication(link, UNKNOWN_PAIR, mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id)
        return None
    return ue
