"""Which file answers which downlink message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from epc.wire import nas
from ran.ue import attach, authentication, detach, identity, information, security_mode
from ran.ue.esm import dedicated_bearer, default_bearer, esm_information, pdn_connectivity

if TYPE_CHECKING:
    from ran.ue.ue import Ue

# Messages that the network may send at any time. All others are for the procedure that waits for them.
_ANSWERED: dict[type[nas.NasMessage], Callable[[Ue, Any], None]] = {
    nas.AuthenticationRequest: authentication.answer,
    nas.AuthenticationReject: authentication.rejected,
    nas.SecurityModeCommand: security_mode.answer,
    nas.IdentityRequest: identity.answer,
    nas.GutiReallocationCommand: identity.reallocated,
    nas.DetachRequestToUe: detach.by_network,
    nas.EmmInformation: information.emm_information,
    nas.EmmStatus: information.emm_status,
    nas.EsmStatus: information.esm_status,
    nas.EsmInformationRequest: esm_information.answer,
    nas.ActivateDefaultEpsBearerContextRequest: pdn_connectivity.default_bearer_offered,
    nas.ActivateDedicatedEpsBearerContextRequest: dedicated_bearer.activate,
    nas.ModifyEpsBearerContextRequest: dedicated_bearer.modify,
    nas.DeactivateEpsBearerContextRequest: default_bearer.deactivate,
}

# Answers to something that this UE asked earlier: nobody waits any more, and nothing needs to be said.
_LATE = (nas.AttachReject, nas.DetachAccept, nas.TrackingAreaUpdateAccept, nas.TrackingAreaUpdateReject, nas.ServiceReject, nas.ServiceAccept,
         nas.PdnConnectivityReject, nas.PdnDisconnectReject, nas.BearerResourceAllocationReject, nas.BearerResourceModificationReject)


def is_allowed_unprotected(message: object) -> bool:
    """TS 24.301 clause 4.4.4.2: what the UE may process before secure exchange is established."""
    match message:
        case nas.IdentityRequest(identity_type=nas.IdentityType.IMSI):
            return True
        case nas.AttachReject(emm_cause=cause) | nas.TrackingAreaUpdateReject(emm_cause=cause) | nas.ServiceReject(emm_cause=cause):
            return cause != nas.EmmCause.NOT_AUTHORIZED_FOR_THIS_CSG
    return isinstance(message, nas.AuthenticationRequest | nas.AuthenticationReject | nas.DetachAccept)


def dispatch(ue: Ue, message: nas.NasMessage) -> None:
    """Answer ``message``, or hand it to the procedure that waits for it; else say that it does not fit (TS 24.301 clause 7.4)."""
    handler = _ANSWERED.get(type(message))
    if handler is not None:
        handler(ue, message)
        return
    if isinstance(message, nas.EsmMessage):
        if not ue.esm.feed(message) and not isinstance(message, _LATE):
            ue.send_esm(nas.EsmStatus(
                eps_bearer_identity=message.eps_bearer_identity, procedure_transaction_identity=message.procedure_transaction_identity,
                esm_cause=nas.EsmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE))
    elif ue.emm.feed(message) or isinstance(message, _LATE):
        return
    elif isinstance(message, nas.AttachAccept):
        attach.accepted_again(ue, message)
    elif ue.secured:
        ue.send_emm(nas.EmmStatus(emm_cause=nas.EmmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE))
