"""Initial attach: TS 23.401 clause 5.3.2.1, NAS in TS 24.301 clause 5.5.1.2. Steps are numbered as in docs/architecture.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

from epc.mme.authentication import AuthenticationFailed, authenticate
from epc.mme.detach import network_initiated_detach
from epc.mme.erab_release import erab_release
from epc.mme.erab_setup import erab_setup
from epc.mme.identity import identify, imsi_of
from epc.mme.initial_context_setup import initial_context_setup
from epc.mme.pdn_request import PdnGranted
from epc.mme.roaming import allowed_tais, check_agreement, check_area
from epc.mme.security_mode import SecurityModeFailed, take_security_into_use
from epc.mme.subscription import check_access, pdn_request
from epc.mme.ue_context import FIRST_EBI, EmmState
from epc.mme.ue_context_modification import ue_context_modification
from epc.mme.ue_context_release import AUTHENTICATION_FAILURE, NORMAL_RELEASE, UNSPECIFIED, release
from epc.peer.nas_security import hash_mme
from epc.procedure import Collision, Reject, TimerExpired, procedure, step
from epc.wire import nas, s1ap
from epc.wire.errors import WireError
from epc.wire.identity import Imsi
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

_RESERVED_PTIS = (0, 255)


@procedure(
    starts_on=nas.AttachRequest, accepts=(nas.AttachComplete,), spec="TS 23.401 clause 5.3.2.1",
    collisions={
        s1ap.UEContextReleaseRequest: Collision.REPLACE,            # TS 24.301 clause 5.5.1.2.7 a) lower layer failure
        nas.AttachRequest: Collision.IGNORE,                        # e) the same again; one that differs never comes here, it replaces
        nas.TrackingAreaUpdateRequest: Collision.REPLACE,           # g)
        nas.DetachRequestFromUe: Collision.REPLACE,                 # h)
    })
async def attach(mme: Mme, ue: UeContext, request: nas.AttachRequest) -> None:
    with rejecting(mme, ue, request):
        async with AsyncExitStack() as undo:
            #  1   Attach Request: what is asked for, and may it be asked here
            step(1, "attach-request")
            undo.callback(_forget_attempt, mme, ue)
            ue.attach_request = request
            wanted = check(mme, ue, request)

            #  2   who is it
            step(2, "identity")
            imsi = await _imsi(mme, ue, request)
            if ue.imsi is not None and ue.imsi != imsi:
                raise Reject(EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK, "the phone has proved to be another one")
            ue.imsi = imsi
            check_agreement(mme, imsi)

            #  3-4 prove it, and protect what follows; a phone that its stored context has verified need not
            if not mme.may_skip_authentication(ue):
                request, wanted = await _make_secure(mme, ue, request, wanted)
            mme.admit(ue)
            if wanted.esm_information_transfer_flag == nas.EsmInformationTransferFlag.REQUIRED:
                wanted = await _ask_for_esm_information(mme, ue, wanted)

            #  5   the HSS knows where the phone is, and says what it may do
            step(5, "update-location")
            if ue.subscription is None or not ue.location_confirmed_in_hss:
                await mme.s6a.update_location(ue, initial_attach=True)
            assert ue.subscription is not None
            check_access(ue.subscription)
            check_area(mme, ue.subscription, ue.known_location.tai)

            #  6-7 session at SGW and PGW
            step(6, "create-session")
            undo.callback(mme.drop_session, ue)
            granted = await mme.s11.create_session(ue, await pdn_request(
                mme, ue, ebi=FIRST_EBI, requested_apn=wanted.access_point_name, requested_pdn_type=wanted.pdn_type,
                protocol_configuration_options=wanted.protocol_configuration_options,
                extended_protocol_configuration_options=wanted.extended_protocol_configuration_options))

            #  8   bearer at the eNodeB, which hands the phone its Attach Accept
            step(8, "initial-context-setup")
            mme.ues.give_m_tmsi(ue, mme.new_m_tmsi())
            accept = _accept(mme, ue, request, activation(granted, wanted.procedure_transaction_identity))
            await _set_up_at_enb(mme, ue, granted, ue.link.protect(accept))

            #  9   the phone has it
            step(9, "attach-complete")
            await _attach_complete(mme, ue, request, accept)
            undo.pop_all()
    ue.attach_request = None
    mme.ues.confirm_m_tmsi(ue)
    mme.ues.set_state(ue, EmmState.REGISTERED)
    if mme.emm_information is not None:
        ue.nas.send(mme.emm_information)

    # 10   downlink path
    step(10, "modify-bearer")
    try:
        if ue.session is None:
            raise Reject(EmmCause.NETWORK_FAILURE, "a gateway has lost the session meanwhile")
        await mme.s11.modify_bearer(ue.session)
    except Reject:
        ue.slot.start(network_initiated_detach, mme, ue, nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED, None)
        raise


@contextmanager
def rejecting(mme: Mme, ue: UeContext, request: nas.AttachRequest) -> Iterator[None]:
    """Every failure that the phone is told of is told here, and the S1 connection released: TS 24.301 clauses 5.5.1.2.5 and 5.5.1.2.7."""
    try:
        yield
    except AuthenticationFailed:
        conclude(mme, ue, nas.AuthenticationReject(), AUTHENTICATION_FAILURE)
        raise
    except (SecurityModeFailed, TimerExpired, ConnectionError):
        conclude(mme, ue, None, UNSPECIFIED)            # T3450, T3460, T3470, or the connection is gone: nobody is there to be told
        raise
    except Reject as error:
        conclude(mme, ue, refusal(mme, request, error), NORMAL_RELEASE)
        raise
    except WireError as error:
        conclude(mme, ue, refusal(mme, request, Reject(EmmCause.NETWORK_FAILURE)), UNSPECIFIED)
        raise Reject(EmmCause.NETWORK_FAILURE, f"a value does not fit its message: {error}") from error


def conclude(mme: Mme, ue: UeContext, last_words: nas.EmmMessage | None, cause: s1ap.Cause) -> None:
    """Send ``last_words`` and release the connection, if it is still there."""
    connection = ue.connection
    if connection is None:
        return
    try:
        if last_words is not None:
            connection.nas.send(last_words)
    finally:
        release(mme, connection, cause)


def refusal(mme: Mme, request: nas.AttachRequest, error: Reject) -> nas.AttachReject:
    """The ATTACH REJECT for ``error``; cause #19 goes with a PDN CONNECTIVITY REJECT."""
    container = None
    if error.cause == EmmCause.ESM_FAILURE:
        pti = request.esm_message_container[1] if len(request.esm_message_container) > 1 else 0
        esm_cause = EsmCause.REQUEST_REJECTED_UNSPECIFIED if error.inner is None else error.inner
        container = nas.encode(nas.PdnConnectivityReject(procedure_transaction_identity=pti, esm_cause=esm_cause))
    cause = int(error.cause)
    t3402 = mme.t3402 if cause == EmmCause.NETWORK_FAILURE else None
    return nas.AttachReject(emm_cause=cause, esm_message_container=container, t3402=t3402)


def check(mme: Mme, ue: UeContext, request: nas.AttachRequest) -> nas.PdnConnectivityRequest:
    """The PDN connectivity request inside; raises :class:`Reject` for what this MME does not do."""
    ue.ue_network_capability = request.ue_network_capability
    ue.ms_network_capability = request.ms_network_capability
    if request.eps_attach_type == nas.EpsAttachType.EPS_EMERGENCY_ATTACH:
        raise Reject(EmmCause.IMEI_NOT_ACCEPTED, "attach for emergency services is not offered")
    if not mme.serves(ue.known_location.tai):
        raise Reject(EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, f"{ue.known_location.tai} is not served")
    try:
        wanted = nas.decode(request.esm_message_container)
    except nas.NasSyntaxError as error:
        inner = error.cause if isinstance(error.cause, EsmCause) else EsmCause.PROTOCOL_ERROR_UNSPECIFIED
        raise Reject(EmmCause.ESM_FAILURE, f"ESM container: {error}", inner=inner) from None
    if not isinstance(wanted, nas.PdnConnectivityRequest):
        raise Reject(EmmCause.ESM_FAILURE, f"{type(wanted).__name__} in an Attach Request",
                     inner=EsmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE)
    if wanted.procedure_transaction_identity in _RESERVED_PTIS:
        raise Reject(EmmCause.ESM_FAILURE, "reserved PTI", inner=EsmCause.INVALID_PTI_VALUE)
    return wanted


async def _imsi(mme: Mme, ue: UeContext, request: nas.AttachRequest) -> Imsi:
    match request.eps_mobile_identity:
        case nas.ImsiIdentity() as identity:
            return imsi_of(identity)
        case nas.Guti() if ue.connection is not None and ue.connection.is_secured and ue.imsi is not None:
            return ue.imsi
        case nas.Guti() if ue.claimed is not None and ue.claimed.imsi is not None:
            return ue.claimed.imsi
    ue.claimed = None
    return await identify(mme, ue)


async def _make_secure(
    mme: Mme, ue: UeContext, request: nas.AttachRequest, wanted: nas.PdnConnectivityRequest
) -> tuple[nas.AttachRequest, nas.PdnConnectivityRequest]:
    """Authentication and NAS security; the request as the phone has really sent it, if it was changed on the way (TS 33.401 clause 7.2.4.4)."""
    step(3, "authentication")
    challenge = await authenticate(mme, ue)
    step(4, "nas-security")
    plain = ue.unprotected_request
    complete = await take_security_into_use(mme, ue, challenge, hash_mme=None if plain is None else hash_mme(plain))
    if complete.replayed_nas_message_container is not None:
        try:
            genuine = nas.decode(complete.replayed_nas_message_container, uplink=True)
        except nas.NasSyntaxError as error:
            raise Reject(error.cause or EmmCause.PROTOCOL_ERROR_UNSPECIFIED, f"replayed request: {error}") from None
        if isinstance(genuine, nas.AttachRequest):
            ue.attach_request = genuine
            return genuine, check(mme, ue, genuine)
    return request, wanted


async def _ask_for_esm_information(mme: Mme, ue: UeContext, wanted: nas.PdnConnectivityRequest) -> nas.PdnConnectivityRequest:
    """APN and options, which the phone did not want to send in clear: TS 24.301 clause 6.6.1.2."""
    pti = wanted.procedure_transaction_identity
    try:
        answer = await ue.nas.request(
            nas.EsmInformationRequest(procedure_transaction_identity=pti), nas.EsmInformationResponse, timer=mme.timers.t3489)
    except TimerExpired:
        raise Reject(EmmCause.ESM_FAILURE, "no ESM information", inner=EsmCause.ESM_INFORMATION_NOT_RECEIVED) from None
    return nas.PdnConnectivityRequest(
        procedure_transaction_identity=pti,
        request_type=wanted.request_type,
        pdn_type=wanted.pdn_type,
        access_point_name=answer.access_point_name,
        protocol_configuration_options=answer.protocol_configuration_options or wanted.protocol_configuration_options,
        extended_protocol_configuration_options=answer.extended_protocol_configuration_options or wanted.extended_protocol_configuration_options)


def activation(granted: PdnGranted, pti: int) -> nas.ActivateDefaultEpsBearerContextRequest:
    """What the phone is told of its PDN connection."""
    pdn = granted.pdn
    return nas.ActivateDefaultEpsBearerContextRequest(
        eps_bearer_identity=pdn.linked_ebi,
        procedure_transaction_identity=pti,
        eps_qos=nas.EpsQos(qci=pdn.bearers[pdn.linked_ebi].qos.qci),
        access_point_name=pdn.apn,
        pdn_address=pdn.address,
        apn_ambr=nas.ApnAmbr(downlink_kbps=pdn.ambr.downlink_kbps, uplink_kbps=pdn.ambr.uplink_kbps),
        esm_cause=granted.esm_cause,
        protocol_configuration_options=granted.protocol_configuration_options,
        extended_protocol_configuration_options=granted.extended_protocol_configuration_options)


def _accept(
    mme: Mme, ue: UeContext, request: nas.AttachRequest, esm: nas.ActivateDefaultEpsBearerContextRequest
) -> nas.AttachAccept:
    combined = request.eps_attach_type == nas.EpsAttachType.COMBINED_EPS_IMSI_ATTACH
    return nas.AttachAccept(
        eps_attach_result=nas.EpsAttachResult.EPS_ONLY,
        t3412=mme.t3412,
        tai_list=allowed_tais(mme, ue.subscription),
        esm_message_container=nas.encode(esm),
        guti=mme.guti(ue),
        emm_cause=EmmCause.CS_DOMAIN_NOT_AVAILABLE if combined else None,
        t3402=mme.t3402,
        eps_network_feature_support=mme.eps_network_feature_support)


async def _set_up_at_enb(mme: Mme, ue: UeContext, granted: PdnGranted, nas_pdu: bytes) -> None:
    """Initial Context Setup; over a connection that has had one before, abnormal cases d), e) and f), an exchange of bearers and keys."""
    connection = ue.link
    if not connection.e_rabs:
        await initial_context_setup(mme, ue, nas_pdu)
        return
    try:
        await erab_release(mme, connection, tuple(connection.e_rabs))
    except TimerExpired:
        raise Reject(EmmCause.NETWORK_FAILURE, "the eNodeB did not answer") from None
    if connection.radio_security is not ue.security:
        await ue_context_modification(mme, ue)
    if await erab_setup(mme, ue, [(granted.pdn.bearers[granted.pdn.linked_ebi], nas_pdu)]):
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB refused the bearer", inner=EsmCause.INSUFFICIENT_RESOURCES)


async def _attach_complete(mme: Mme, ue: UeContext, request: nas.AttachRequest, accept: nas.AttachAccept) -> None:
    """Wait for ATTACH COMPLETE, sending ``accept`` again at each expiry of T3450 and for each repetition of the request."""
    expiries = 0
    while True:
        try:
            answer = await ue.nas.wait(nas.AttachComplete, nas.AttachRequest, timer=mme.timers.t3450)
        except TimerExpired:                                # abnormal case c)
            expiries += 1
            if expiries > mme.timers.t3450.retries:
                raise
            mme.metrics.retransmission("NAS", "AttachAccept")
            ue.nas.send(accept)
            continue
        if isinstance(answer, nas.AttachComplete):
            return
        ue.nas.send(accept)                                 # abnormal case d): the request is the same, its sender missed the answer


def _forget_attempt(mme: Mme, ue: UeContext) -> None:
    ue.attach_request = None
    mme.ues.set_state(ue, EmmState.DEREGISTERED)
