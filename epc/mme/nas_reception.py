"""NAS messages on their way in: which phone, is it really it, and who deals with the message (TS 24.301 clauses 4.4.4, 5.3.1 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from epc.mme.attach import attach
from epc.mme.ue_context_release import NORMAL_RELEASE, UNSPECIFIED, release
from epc.procedure import Collision
from epc.wire import nas, s1ap
from epc.wire.errors import WireError
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.s1_association import S1Association
    from epc.mme.s1_connection import S1Connection
    from epc.mme.ue_context import Location, UeContext

# TS 24.301 clause 4.4.4.3: taken without integrity protection, as long as secure exchange is not established
_ALLOWED_UNPROTECTED = (
    nas.AttachRequest, nas.IdentityResponse, nas.AuthenticationResponse, nas.AuthenticationFailure, nas.SecurityModeReject,
    nas.DetachRequestFromUe, nas.DetachAccept, nas.TrackingAreaUpdateRequest,
)
# second answers to a message that was repeated: their time is over, and a status would only puzzle the phone
_LATE_ANSWERS = (
    nas.IdentityResponse, nas.AuthenticationResponse, nas.AuthenticationFailure, nas.SecurityModeComplete, nas.SecurityModeReject,
    nas.AttachComplete, nas.DetachAccept, nas.TrackingAreaUpdateComplete, nas.EsmInformationResponse,
    nas.ActivateDefaultEpsBearerContextAccept, nas.DeactivateEpsBearerContextAccept, nas.ActivateDedicatedEpsBearerContextAccept,
    nas.ActivateDedicatedEpsBearerContextReject, nas.ModifyEpsBearerContextAccept, nas.ModifyEpsBearerContextReject,
)


class _Initial(NamedTuple):
    """An initial NAS message, and the context that it belongs to. ``plain`` is the message without its protection."""

    message: nas.NasPdu
    plain: bytes
    claimed: UeContext | None       # the context that it names
    is_verified: bool               # and whose keys it is protected with


# --- initial messages ------------------------------------------------------------------------------------------------------------


def receive_initial(mme: Mme, association: S1Association, message: s1ap.InitialUEMessage) -> None:
    """The first message of a phone over a new S1 connection."""
    try:
        location = mme.location_of(message.tai, message.eutran_cgi)
    except WireError:
        association.send_error_indication(s1ap.Cause("protocol", "semantic-error"), enb_ue_s1ap_id=message.enb_ue_s1ap_id)
        return
    try:
        initial = _read_initial(mme, message.nas_pdu, message.s_tmsi)
    except nas.NasSyntaxError as error:
        ue = mme.new_ue()
        ue.location = location
        connection = association.connect(message.enb_ue_s1ap_id, ue)
        _answer_syntax_error(mme, connection, error)
        release(mme, connection, s1ap.Cause("protocol", "transfer-syntax-error"))
        return
    mme.metrics.message_received("NAS", type(initial.message).__name__)
    if initial.is_verified and initial.claimed is not None:
        _receive_verified(mme, association, message.enb_ue_s1ap_id, initial.claimed, initial, location)
        return
    ue = mme.new_ue()
    ue.location = location
    connection = association.connect(message.enb_ue_s1ap_id, ue)
    match initial.message:
        case nas.AttachRequest():
            ue.claimed = initial.claimed
            ue.unprotected_request = initial.plain
            ue.slot.start(attach, mme, ue, initial.message)
        case nas.TrackingAreaUpdateRequest():
            connection.nas.send(nas.TrackingAreaUpdateReject(emm_cause=EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK))
            release(mme, connection, NORMAL_RELEASE)
        case nas.ServiceRequest() | nas.ExtendedServiceRequest() | nas.ControlPlaneServiceRequest():
            connection.nas.send(nas.ServiceReject(emm_cause=EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK))
            release(mme, connection, NORMAL_RELEASE)
        case nas.DetachRequestFromUe():
            ue.slot.receive(connection.nas, initial.message, mme, ue)       # of a phone that is not known: no context is touched
        case other:
            mme.metrics.protocol_error("NAS", f"initial {type(other).__name__}")
            release(mme, connection, UNSPECIFIED)


def _receive_verified(mme: Mme, association: S1Association, enb_ue_s1ap_id: int, ue: UeContext, initial: _Initial, location: Location) -> None:
    """The phone of a known context speaks, over a connection that replaces any older one."""
    mme.rebind(ue, association, enb_ue_s1ap_id)
    ue.location = location
    ue.unprotected_request = None
    connection = ue.link
    connection.is_secured = True
    procedure = mme.procedures.get(type(initial.message))
    if procedure is None:
        if isinstance(initial.message, nas.ExtendedServiceRequest | nas.ControlPlaneServiceRequest):
            connection.nas.send(nas.ServiceReject(emm_cause=EmmCause.CS_DOMAIN_NOT_AVAILABLE))
        else:
            _not_expected(mme, connection, initial.message)
        release(mme, connection, NORMAL_RELEASE)
        return
    if isinstance(initial.message, nas.TrackingAreaUpdateRequest):
        ue.note_update()
    running = ue.slot.running       # what ran over the former connection has lost it, unless it says otherwise
    collision = Collision.REPLACE if running is None else running.collisions.get(type(initial.message), Collision.REPLACE)
    ue.slot.start(procedure, mme, ue, initial.message, collision=collision)


def _read_initial(mme: Mme, octets: bytes, s_tmsi: s1ap.STMSI | None) -> _Initial:
    """Raises :class:`nas.NasSyntaxError`."""
    outer = nas.decode(octets, uplink=True)
    named = mme.ue_by_s_tmsi(s_tmsi)
    if isinstance(outer, nas.ServiceRequest):
        return _Initial(outer, octets, named, _verify_service_request(mme, named, outer, octets))
    if not isinstance(outer, nas.SecurityProtected):
        return _Initial(outer, octets, _owner(mme, outer, named), False)
    readable = outer.security_header_type in (
        nas.SecurityHeaderType.INTEGRITY_PROTECTED, nas.SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT)
    if readable:
        message = nas.decode(outer.payload, uplink=True)
        named = _owner(mme, message, named)
        ksi = getattr(message, "nas_key_set_identifier", None)
        if named is not None and named.security is not None and (ksi is None or ksi.value == named.security.ksi):
            count = _verify(mme, named, octets)
            if count is not None:
                named.security.kenb_uplink_count = count        # an initial message gives the radio its keys: TS 33.401 clause 7.2.6
                return _Initial(message, outer.payload, named, True)
        return _Initial(message, outer.payload, named, False)
    if named is not None and named.security is not None:
        try:
            unprotected = named.security.unprotect(octets)
        except WireError as error:
            mme.metrics.protocol_error("NAS", type(error).__name__)
        else:
            named.security.kenb_uplink_count = unprotected.nas_count
            return _Initial(nas.decode(unprotected.plain, uplink=True), unprotected.plain, named, True)
    raise nas.NasSyntaxError("an initial message that nobody can decipher", cause=None)


def _verify(mme: Mme, ue: UeContext, octets: bytes) -> int | None:
    """The NAS COUNT of a message that is protected under the context's keys, ``None`` when it is not."""
    if ue.security is None:
        return None
    try:
        return ue.security.unprotect(octets).nas_count
    except WireError as error:
        mme.metrics.protocol_error("NAS", type(error).__name__)
        return None


def _verify_service_request(mme: Mme, ue: UeContext | None, request: nas.ServiceRequest, octets: bytes) -> bool:
    if ue is None or ue.security is None or request.nas_key_set_identifier.value != ue.security.ksi:
        return False
    try:
        ue.security.verify_service_request(octets)
    except WireError as error:
        mme.metrics.protocol_error("NAS", type(error).__name__)
        return False
    return True


def _owner(mme: Mme, message: nas.NasPdu, named: UeContext | None) -> UeContext | None:
    """The context that the GUTI in an initial message names; of a message that has no place for one, the context that the S-TMSI ``named``."""
    match message:
        case nas.AttachRequest(eps_mobile_identity=nas.Guti() as guti) | nas.DetachRequestFromUe(eps_mobile_identity=nas.Guti() as guti):
            return mme.ue_by_guti(guti)
        case nas.TrackingAreaUpdateRequest(old_guti=nas.Guti() as guti):
            return mme.ue_by_guti(guti)
        case nas.AttachRequest() | nas.DetachRequestFromUe() | nas.TrackingAreaUpdateRequest():
            return None
        case _:
            return named


# --- messages over an established connection --------------------------------------------------------------------------------------


def receive_uplink(mme: Mme, connection: S1Connection, ue: UeContext, octets: bytes) -> None:
    """A message of a phone that is connected."""
    try:
        message, plain = _read_uplink(mme, connection, ue, octets)
    except nas.NasSyntaxError as error:
        _answer_syntax_error(mme, connection, error)
        return
    except WireError as error:
        mme.metrics.protocol_error("NAS", type(error).__name__)        # forged, replayed or not readable: discarded, TS 24.301 clause 4.4.4.3
        mme.log.info("nas.discarded", reason=str(error))
        return
    mme.metrics.message_received("NAS", type(message).__name__)
    if isinstance(message, nas.TrackingAreaUpdateRequest):
        ue.note_update()
    running = ue.slot.running
    if isinstance(message, nas.AttachRequest):
        ue.unprotected_request = None if connection.is_secured else plain
        if running is attach and message != ue.attach_request:          # TS 24.301 clause 5.5.1.2.7 d) and e): another request than before
            ue.slot.start(attach, mme, ue, message, collision=Collision.REPLACE)
            return
    if not ue.slot.receive(connection.nas, message, mme, ue):
        _not_expected(mme, connection, message)


def _read_uplink(mme: Mme, connection: S1Connection, ue: UeContext, octets: bytes) -> tuple[nas.EmmMessage | nas.EsmMessage, bytes]:
    """The message and its plain octets; raises ``WireError`` for what must not be processed."""
    outer = nas.decode(octets, uplink=True)
    if isinstance(outer, nas.SecurityProtected):
        new_context = outer.security_header_type in (
            nas.SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT,
            nas.SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED_WITH_NEW_EPS_SECURITY_CONTEXT)
        security = ue.new_security if new_context else ue.security
        if security is not None and (new_context or connection.is_secured):
            plain = security.unprotect(octets).plain
            return _emm_or_esm(nas.decode(plain, uplink=True)), plain
        octets = outer.payload
        outer = nas.decode(octets, uplink=True)         # of keys that this connection does not know
    elif connection.is_secured:
        raise WireError(f"{type(outer).__name__} without integrity protection")
    if connection.is_secured or not isinstance(outer, _ALLOWED_UNPROTECTED):
        raise WireError(f"{type(outer).__name__} before security is established")
    return _emm_or_esm(outer), octets


def _emm_or_esm(message: nas.NasPdu) -> nas.EmmMessage | nas.EsmMessage:
    if isinstance(message, nas.EmmMessage | nas.EsmMessage):
        return message
    raise WireError(f"{type(message).__name__} inside a NAS message")


def _not_expected(mme: Mme, connection: S1Connection, message: nas.NasPdu) -> None:
    """Nobody waits for it, and it starts nothing: TS 24.301 clauses 7.4 and 7.3."""
    if isinstance(message, _LATE_ANSWERS):
        mme.metrics.protocol_error("NAS", f"late {type(message).__name__}")
        return
    if isinstance(message, nas.EmmStatus | nas.EsmStatus):
        cause = message.emm_cause if isinstance(message, nas.EmmStatus) else message.esm_cause
        mme.metrics.protocol_error("NAS", f"{type(message).__name__} {cause}")
        return
    mme.metrics.protocol_error("NAS", f"unexpected {type(message).__name__}")
    if isinstance(message, nas.EsmMessage):
        connection.nas.send(nas.EsmStatus(
            eps_bearer_identity=message.eps_bearer_identity, procedure_transaction_identity=message.procedure_transaction_identity,
            esm_cause=EsmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE))
    else:
        connection.nas.send(nas.EmmStatus(emm_cause=EmmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE))


def _answer_syntax_error(mme: Mme, connection: S1Connection, error: nas.NasSyntaxError) -> None:
    """TS 24.301 clause 7: the procedure's own reject message where it has one, else a status; silence where the clause wants it."""
    mme.metrics.protocol_error("NAS", "ignored" if error.cause is None else error.cause.name)
    mme.log.info("nas.syntax_error", error=str(error))
    pti = error.procedure_transaction_identity or 0
    match error.cause:
        case None:
            return
        case EsmCause() as esm_cause if error.message_type == nas.PdnConnectivityRequest.message_type:
            connection.nas.send(nas.PdnConnectivityReject(procedure_transaction_identity=pti, esm_cause=esm_cause))
        case EsmCause() as esm_cause if error.message_type == nas.PdnDisconnectRequest.message_type:
            connection.nas.send(nas.PdnDisconnectReject(procedure_transaction_identity=pti, esm_cause=esm_cause))
        case EsmCause() as esm_cause:
            connection.nas.send(nas.EsmStatus(
                eps_bearer_identity=error.eps_bearer_identity or 0, procedure_transaction_identity=pti, esm_cause=esm_cause))
        case emm_cause if error.message_type == nas.AttachRequest.message_type:             # clause 5.5.1.2.7 b)
            connection.nas.send(nas.AttachReject(emm_cause=emm_cause))
        case emm_cause if error.message_type == nas.TrackingAreaUpdateRequest.message_type:     # clause 5.5.3.2.7 b)
            connection.nas.send(nas.TrackingAreaUpdateReject(emm_cause=emm_cause))
        case emm_cause:
            connection.nas.send(nas.EmmStatus(emm_cause=emm_cause))
