"""New keys for the radio of a phone that was authenticated while it had radio bearers: TS 36.413 clause 8.3.4, TS 33.401 clause 7.2.9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.initial_context_setup import s1_security_capabilities
from epc.procedure import Reject, TimerExpired
from epc.wire import s1ap
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def ue_context_modification(mme: Mme, ue: UeContext) -> None:
    """Raises :class:`Reject` when the eNodeB refuses or says nothing."""
    connection, security, capability = ue.link, ue.security, ue.ue_network_capability
    if security is None or capability is None:
        raise Reject(EmmCause.NETWORK_FAILURE, "no keys", inner=EsmCause.NETWORK_FAILURE)
    try:
        answer = await connection.s1.request(
            s1ap.UEContextModificationRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                security_key=s1ap.BitString.of(security.derive_kenb()), ue_security_capabilities=s1_security_capabilities(capability)),
            s1ap.UEContextModificationResponse, s1ap.UEContextModificationFailure, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.NETWORK_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    if not isinstance(answer, s1ap.UEContextModificationResponse):
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB refused new keys", inner=EsmCause.INSUFFICIENT_RESOURCES)
    connection.radio_security = security
