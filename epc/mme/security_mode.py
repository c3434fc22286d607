"""NAS security into use: TS 24.301 clause 5.4.3, TS 33.401 clause 7.2.4.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.authentication import Challenge
from epc.peer.nas_security import NasSecurityContext, NoCommonAlgorithm, Side, select_algorithms
from epc.procedure import Reject
from epc.wire import nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


class SecurityModeFailed(Reject):
    """The phone refused: the procedure that wanted security ends, and the phone is told no more (clause 5.4.3.5)."""


async def take_security_into_use(mme: Mme, ue: UeContext, challenge: Challenge, *, hash_mme: bytes | None) -> nas.SecurityModeComplete:
    """From here on NAS is protected under the keys of ``challenge``.

    ``hash_mme``, of an initial message that came without integrity protection, lets the phone notice a change on the way.
    Raises :class:`SecurityModeFailed`, :class:`Reject` (no common algorithm) or ``TimerExpired`` (T3460).
    """
    capability = ue.ue_network_capability
    if capability is None:
        raise Reject(nas.EmmCause.PROTOCOL_ERROR_UNSPECIFIED, "the phone has not told its security capabilities")
    security = mme.config.security
    try:
        eea, eia = select_algorithms(capability.eea, capability.eia, eea_preference=mme.eea_preference, eia_preference=mme.eia_preference)
    except NoCommonAlgorithm as error:
        raise Reject(nas.EmmCause.PROTOCOL_ERROR_UNSPECIFIED, f"{error}; wanted: {security.ciphering}, {security.integrity}") from None
    ue.new_security = NasSecurityContext(side=Side.NETWORK, ksi=challenge.ksi, kasme=challenge.vector.kasme, eea=eea, eia=eia)
    try:
        answer = await ue.nas.request(
            nas.SecurityModeCommand(
                selected_nas_security_algorithms=nas.NasSecurityAlgorithms(ciphering=int(eea), integrity=int(eia)),
                nas_key_set_identifier=nas.NasKeySetIdentifier(value=challenge.ksi),
                replayed_ue_security_capabilities=nas.UeSecurityCapability.of(capability, ue.ms_network_capability),
                imeisv_request=nas.ImeisvRequest.REQUESTED,
                hash_mme=hash_mme),
            nas.SecurityModeComplete, nas.SecurityModeReject, timer=mme.timers.t3460)
        if not isinstance(answer, nas.SecurityModeComplete):
            cause = answer.emm_cause if isinstance(answer, nas.SecurityModeReject) else nas.EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED
            raise SecurityModeFailed(cause, "the phone refused the security mode")
        ue.security = ue.new_security
    finally:
        ue.new_security = None
    ue.link.is_secured = True
    match answer.imeisv:
        case nas.ImeisvIdentity(imeisv=digits):
            ue.imeisv = digits
    return answer
