"""The MME's end of S6a: requests to the HSS, and what its answers mean to a phone (TS 29.272 clauses 5.2 and annex A)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from epc.mme.cancel_location import cancel_location
from epc.mme.delete_subscriber_data import delete_subscriber_data
from epc.mme.insert_subscriber_data import insert_subscriber_data, reset
from epc.mme.ue_context import UeContext
from epc.peer.diameter import LocalIdentity, PeerUnavailable
from epc.procedure import Reject, TimerExpired
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Address
from epc.wire.diameter import (
    S6A_APPLICATION,
    Answer,
    DiameterError,
    ExperimentalResultCode,
    Message,
    Packet,
    RatType,
    ResultCode,
    s6a,
)
from epc.wire.errors import WireError
from epc.wire.identity import Plmn
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme

A = TypeVar("A", bound=s6a.S6aAnswer)
_MOST_REALMS = 1_000

# TS 29.272 annex A; what it does not map is #17, and where it leaves the choice, the configuration decides
_EMM_CAUSES: dict[int, EmmCause] = {
    ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN: EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED,
    ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED: EmmCause.PLMN_NOT_ALLOWED,
    ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE: EmmCause.NETWORK_FAILURE,
}


def refusal_of(answer: s6a.S6aAnswer, rat_not_allowed: EmmCause = EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA) -> Reject:
    """What an answer that is no success means to the phone."""
    detail = f"{type(answer).__name__}: {answer.result!r}"
    if answer.experimental_result is None:
        elsewhere = answer.result == ResultCode.DIAMETER_AUTHORIZATION_REJECTED
        return Reject(EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA if elsewhere else EmmCause.NETWORK_FAILURE, detail)
    diagnostic = getattr(answer, "error_diagnostic", None)
    match answer.experimental_result.experimental_result_code:
        case ExperimentalResultCode.DIAMETER_ERROR_RAT_NOT_ALLOWED:
            return Reject(rat_not_allowed, detail)
        case ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION:
            nothing_at_all = diagnostic == s6a.ErrorDiagnostic.NO_GPRS_DATA_SUBSCRIBED
            return Reject(EmmCause.EPS_SERVICES_NOT_ALLOWED if nothing_at_all else EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, detail)
        case ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED if diagnostic == s6a.ErrorDiagnostic.ODB_ALL_APN:
            return Reject(EmmCause.ESM_FAILURE, detail, inner=EsmCause.OPERATOR_DETERMINED_BARRING)
        case ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED if diagnostic is not None:
            return Reject(EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN, detail)
        case code:
            return Reject(_EMM_CAUSES.get(code, EmmCause.NETWORK_FAILURE), detail)


class S6a:
    """Requests about this MME's phones to the HSS, and the HSS's to this MME."""

    def __init__(self, mme: Mme) -> None:
        config = mme.config
        self._mme = mme
        self._origin_host, self._origin_realm = config.origin_host, config.origin_realm
        self._home_realms: dict[str, str] = {}          # by the first six digits of the IMSI
        barring = s6a.S6aFeatures.ODB_ALL_APN | s6a.S6aFeatures.ODB_HPLMN_APN | s6a.S6aFeatures.ODB_VPLMN_APN
        # without zones in its configuration an MME cannot tell which of them a phone is in
        self.features = barring | s6a.S6aFeatures.REG_SUB if config.regional.zones else barring
        self.endpoint = DiameterNode(
            mme.transport, LocalIdentity(origin_host=self._origin_host, origin_realm=self._origin_realm, applications=(S6A_APPLICATION,)),
            interface="S6a", entropy=mme.entropy, clock=mme.clock, on_request=self._serve, peers=[each.peer for each in config.s6a.peers],
            local=None if config.s6a.host is None else Address(config.s6a.host, 0), timers=config.s6a.peer_timers, observer=mme.metrics)

    # requests of ours

    async def authentication_information(
        self, ue: UeContext, *, re_synchronization_info: bytes | None = None
    ) -> s6a.EUtranVector:
        """One vector for the phone's IMSI and serving network: TS 29.272 clause 5.2.3.1. ``re_synchronization_info`` is RAND and AUTS.

        Raises :class:`Reject` with the EMM cause for the phone.
        """
        imsi = ue.known_imsi
        answer = await self._ask(s6a.AuthenticationInformationRequest(
            session_id=self.endpoint.new_session_id(), origin_host=self._origin_host, origin_realm=self._origin_realm,
            destination_realm=self._home_realm(imsi), user_name=imsi, visited_plmn_id=self._visited_plmn(ue),
            requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(
                number_of_requested_vectors=1, immediate_response_preferred=1, re_synchronization_info=re_synchronization_info),
        ), s6a.AuthenticationInformationAnswer)
        vectors = () if answer.authentication_info is None else answer.authentication_info.e_utran_vector
        if not vectors:
            raise Reject(EmmCause.NETWORK_FAILURE, "the HSS gave no vector")
        ue.hss_host = answer.origin_host
        return vectors[0]

    async def update_location(self, ue: UeContext, *, initial_attach: bool) -> None:
        """This MME serves the phone: TS 29.272 clause 5.2.1.1. Stores the subscription; raises :class:`Reject`."""
        imsi = ue.known_imsi
        terminal = None
        if ue.imeisv is not None:
            terminal = s6a.TerminalInformation(imei=ue.imeisv[:14], software_version=ue.imeisv[14:])
        flags = s6a.UlrFlags.S6A_S6D_INDICATOR | (s6a.UlrFlags.INITIAL_ATTACH_INDICATOR if initial_attach else s6a.UlrFlags(0))
        hss_host, ue.hss_host = ue.hss_host, None       # an HSS that fails is forgotten: the next request finds its way by the realm
        answer = await self._ask(s6a.UpdateLocationRequest(
            session_id=self.endpoint.new_session_id(), origin_host=self._origin_host, origin_realm=self._origin_realm,
            destination_host=hss_host, destination_realm=self._home_realm(imsi), user_name=imsi,
            visited_plmn_id=self._visited_plmn(ue), rat_type=RatType.EUTRAN, ulr_flags=flags, terminal_information=terminal,
            supported_features=s6a.supported_features(self.features),
        ), s6a.UpdateLocationAnswer)
        ue.hss_host = answer.origin_host
        if answer.subscription_data is not None:
            ue.subscription = answer.subscription_data
        if ue.subscription is None:
            raise Reject(EmmCause.NETWORK_FAILURE, "the HSS gave no subscription")
        ue.location_confirmed_in_hss = True

    async def purge_ue(self, ue: UeContext) -> None:
        """This MME has forgotten the phone: TS 29.272 clause 5.2.1.3. Raises :class:`Reject`."""
        imsi = ue.known_imsi
        answer = await self._ask(s6a.PurgeUeRequest(
            session_id=self.endpoint.new_session_id(), origin_host=self._origin_host, origin_realm=self._origin_realm,
            destination_host=ue.hss_host, destination_realm=self._home_realm(imsi), user_name=imsi,
            pur_flags=s6a.PurFlags.UE_PURGED_IN_MME,
        ), s6a.PurgeUeAnswer)
        if answer.pua_flags is not None and s6a.PuaFlags.FREEZE_M_TMSI in answer.pua_flags:
            self._mme.log.debug("s6a.m_tmsi_frozen")        # never given twice while its owner is known; random beyond that

    async def _ask(self, request: Message, answer: type[A]) -> A:
        config = self._mme.config
        try:
            packet = await self.endpoint.request(request, timer=self._mme.timers.tx)
        except TimerExpired:
            raise Reject(EmmCause.NETWORK_FAILURE, f"no {answer.__name__} in time") from None
        except PeerUnavailable as error:
            raise Reject(EmmCause.NETWORK_FAILURE, str(error)) from None
        except WireError as error:
            raise Reject(EmmCause.NETWORK_FAILURE, f"{answer.__name__}: {error}") from None
        message = packet.message
        result = message.result if isinstance(message, Answer) else None
        match result:
            case ResultCode.DIAMETER_UNABLE_TO_DELIVER:
                raise Reject(EmmCause[config.roaming.home_unreachable], f"{answer.__name__}: {result!r}")
            case ResultCode.DIAMETER_REALM_NOT_SERVED:
                raise Reject(EmmCause[config.roaming.realm_not_served], f"{answer.__name__}: {result!r}")
        if not isinstance(message, answer):
            raise Reject(EmmCause.NETWORK_FAILURE, f"{type(message).__name__} {result} instead of {answer.__name__}")
        if not message.is_success:
            raise refusal_of(message, EmmCause[config.roaming.rat_not_allowed])
        return message

    def _home_realm(self, imsi: str) -> str:
        realm = self._home_realms.get(imsi[:6])
        if realm is None:
            if len(self._home_realms) >= _MOST_REALMS:
                self._home_realms.clear()
            realm = self._home_realms[imsi[:6]] = self._mme.config.home_realm(imsi)
        return realm

    def _visited_plmn(self, ue: UeContext) -> Plmn:
        return self._mme.serving_plmn(ue.known_location)

    # requests of the HSS

    def _serve(self, packet: Packet) -> Message:
        request = packet.message
        match request:
            case s6a.CancelLocationRequest():
                code = cancel_location(self._mme, request)
                return s6a.CancelLocationAnswer(session_id=request.session_id, origin_host=self._origin_host, origin_realm=self._origin_realm,
                                                result_code=code)
            case s6a.InsertSubscriberDataRequest():
                return insert_subscriber_data(self._mme, request, origin_host=self._origin_host, origin_realm=self._origin_realm)
            case s6a.DeleteSubscriberDataRequest():
                return delete_subscriber_data(self._mme, request, origin_host=self._origin_host, origin_realm=self._origin_realm)
            case s6a.ResetRequest():
                reset(self._mme, request)
                return s6a.ResetAnswer(session_id=request.session_id, origin_host=self._origin_host, origin_realm=self._origin_realm,
                                       result_code=ResultCode.DIAMETER_SUCCESS)
            case _:
                raise DiameterError(f"{type(request).__name__} is not served", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)
