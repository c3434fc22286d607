"""UE Context Modification (TS 36.413 clause 8.3.4): a new KeNB, other capabilities, another aggregate bit rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import TimerExpired, procedure
from epc.wire.s1ap import (
    BitString,
    Cause,
    UEContextModificationFailure,
    UEContextModificationRequest,
    UEContextModificationResponse,
    UESecurityCapabilities,
)
from ran.enb.causes import RADIO_FAILURE, Refusal
from ran.enb.collisions import BEHIND_EACH_OTHER
from ran.enb.initial_context_setup import set_up_security
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb

_ALL_ALGORITHMS = UESecurityCapabilities(encryption_algorithms=BitString(0xE000, 16), integrity_protection_algorithms=BitString(0xE000, 16))


@procedure(spec="TS 36.413 clause 8.3.4", starts_on=UEContextModificationRequest, collisions=BEHIND_EACH_OTHER)
async def ue_context_modification(enb: Enb, ue: UeContext, request: UEContextModificationRequest) -> None:
    try:
        if request.security_key is not None:
            await set_up_security(enb, ue, request.security_key, request.ue_security_capabilities or _ALL_ALGORITHMS)
    except Refusal as error:
        refuse(ue, request, error.s1ap_cause)
        raise
    except TimerExpired:
        refuse(ue, request, RADIO_FAILURE)
        raise
    enb.user_plane.set_aggregate_rate(ue, request.ue_aggregate_maximum_bitrate)
    ue.send(UEContextModificationResponse(mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id))


def refuse(ue: UeContext, request: UEContextModificationRequest, cause: Cause) -> None:
    ue.send(UEContextModificationFailure(mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, cause=cause))
