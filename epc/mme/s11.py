"""The MME's end of S11: sessions at SGWs, and what their answers mean to a phone (TS 29.274 clauses 7.2 and annex C)."""

from __future__ import annotations

import asyncio
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeVar

from epc.mme.change_notification import is_to_be_told, take_action
from epc.mme.create_bearer import create_bearer
from epc.mme.delete_bearer import delete_bearer
from epc.mme.downlink_data_notification import downlink_data_notification
from epc.mme.gateway_selection import select_sgw
from epc.mme.pdn_request import PdnGranted, PdnRequest
from epc.mme.pgw_restart_notification import pgw_restart_notification
from epc.mme.ue_context import Bearer, PdnConnection, SgwSession, UeContext
from epc.mme.update_bearer import update_bearer
from epc.node.gtpc import restart_counter
from epc.peer.gtpc import PathEvent, PeerRestarted, RequestReceived
from epc.procedure import Outcome, Procedure, Reject, TimerExpired, procedure
from epc.transport.gtpc import GtpcEndpoint
from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.gtpv2 import (
    FAILURE_OF_COMMAND,
    REPLY_TO,
    BearerContextToBeCreated,
    BearerContextToBeModified,
    Cause,
    CauseValue,
    CreateBearerRequest,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteBearerRequest,
    DeleteSessionRequest,
    DeleteSessionResponse,
    DownlinkDataNotification,
    Fteid,
    GtpSyntaxError,
    Indication,
    InterfaceType,
    Message,
    ModifyBearerRequest,
    ModifyBearerResponse,
    NodeType,
    Paa,
    PgwRestartNotification,
    RatType,
    ReleaseAccessBearersRequest,
    ReleaseAccessBearersResponse,
    SelectionMode,
    Uli,
    UpdateBearerRequest,
    rejection,
)
from epc.wire.gtpv2 import PdnType as GtpPdnType
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme

# TS 29.274 annex C.2; what it does not map is #30
_ESM_CAUSES: dict[int, EsmCause] = {
    CauseValue.MISSING_OR_UNKNOWN_APN: EsmCause.MISSING_OR_UNKNOWN_APN,
    CauseValue.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.NO_RESOURCES_AVAILABLE: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.NO_MEMORY_AVAILABLE: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.APN_CONGESTION: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.GTP_C_ENTITY_CONGESTION: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.SYSTEM_FAILURE: EsmCause.NETWORK_FAILURE,
    CauseValue.REMOTE_PEER_NOT_RESPONDING: EsmCause.NETWORK_FAILURE,
    CauseValue.PREFERRED_PDN_TYPE_NOT_SUPPORTED: EsmCause.UNKNOWN_PDN_TYPE,
    CauseValue.USER_AUTHENTICATION_FAILED: EsmCause.USER_AUTHENTICATION_FAILED,
    CauseValue.APN_ACCESS_DENIED_NO_SUBSCRIPTION: EsmCause.REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED,
    CauseValue.SERVICE_NOT_SUPPORTED: EsmCause.SERVICE_OPTION_NOT_SUPPORTED,
    CauseValue.REQUEST_REJECTED: EsmCause.REQUEST_REJECTED_UNSPECIFIED,
    CauseValue.MULTIPLE_PDN_CONNECTIONS_FOR_A_GIVEN_APN_NOT_ALLOWED: EsmCause.MULTIPLE_PDN_CONNECTIONS_FOR_A_GIVEN_APN_NOT_ALLOWED,
}
_ANOTHER_PGW_MAY = frozenset({CauseValue.REMOTE_PEER_NOT_RESPONDING, CauseValue.NO_RESOURCES_AVAILABLE, CauseValue.GTP_C_ENTITY_CONGESTION})
A = TypeVar("A", bound=Message)


class PgwUnavailable(Reject):
    """This PGW cannot take the phone now; another one may."""


@procedure(spec="TS 29.274 clause 7.2.1")
async def abandon_creation(mme: Mme, session: SgwSession, linked_ebi: int, exchange: asyncio.Future[CreateSessionResponse]) -> None:
    """Nobody wants the session any more, but the SGW is making it: wait for its TEID, then delete."""
    try:
        answer = await exchange
        if answer.cause.is_accepted and answer.sender_fteid is not None:
            session.s11_sgw_teid = answer.sender_fteid.teid
            await mme.s11.delete_pdn_connection(session, linked_ebi, None)
    finally:
        if not session.pdns:
            mme.s11.free(session)


@procedure(spec="TS 29.274 clause 7.2.9.1")
async def delete_session(mme: Mme, session: SgwSession, uli_of: UeContext | None) -> None:
    """End every PDN connection of ``session``. Whatever the SGW says, or does not say, the session is over here."""
    uli = uli_of.location.uli if uli_of is not None and uli_of.location is not None else None
    try:
        for linked_ebi in list(session.pdns):
            await mme.s11.delete_pdn_connection(session, linked_ebi, uli)
    finally:
        mme.s11.free(session)


@procedure(spec="TS 29.274 clause 7.2.9.1")
async def delete_pdn_connection(mme: Mme, session: SgwSession, linked_ebi: int) -> None:
    """End one of several PDN connections."""
    await mme.s11.delete_pdn_connection(session, linked_ebi, None)


class S11:
    """Sessions of this MME's phones at their SGWs."""

    def __init__(self, mme: Mme) -> None:
        config = mme.config
        self._mme = mme
        self._address = ip_address(config.s11.host)
        self.sessions: dict[int, SgwSession] = {}           # by the MME's TEID, those being deleted included
        self._owner: dict[int, UeContext] = {}
        self._ending: dict[str, set[asyncio.Task[Outcome]]] = {}        # by IMSI: what the SGW is still being told to delete
        self.endpoint = GtpcEndpoint(
            mme.transport, config.s11.address, interface="S11", restart_counter=restart_counter(mme), on_request=self._serve,
            on_event=self._on_path_event,
            timers=config.gtp.timers, observer=mme.metrics, remote_teid=self._remote_teid, first_sequence=mme.entropy.getrandbits(23))

    # requests of ours

    async def create_session(self, ue: UeContext, wanted: PdnRequest) -> PdnGranted:
        """Make a PDN connection; raises :class:`Reject` with the causes that the phone is to be told. Nothing is left of a failed one here."""
        if ending := self._ending.get(ue.known_imsi):
            await asyncio.wait(ending)          # TS 23.401 clause 5.3.2.1, steps 7 and 10: first the old sessions go
        session = ue.session
        if session is None:
            sgw, name = await select_sgw(self._mme, ue)
            session = SgwSession(ue.known_imsi, sgw, self._new_teid(), name)
            self.sessions[session.s11_mme_teid] = session
            self._owner[session.s11_mme_teid] = ue
            self.endpoint.watch(session.sgw)
        try:
            granted = await self._at_one_of(ue, session, wanted)
        except Reject:
            if not session.pdns:
                self.free(session)
            raise
        ue.session = session
        return granted

    async def _at_one_of(self, ue: UeContext, session: SgwSession, wanted: PdnRequest) -> PdnGranted:
        """The PGWs one after the other, until one answers that can take the phone (TS 29.303 clause 4.3.1)."""
        *others, last = wanted.pgws
        for pgw in others:
            try:
                return await self._create_session(ue, session, wanted, pgw)
            except PgwUnavailable as error:
                self._mme.log.info("pgw.passed_over", pgw=pgw, reason=str(error))
        return await self._create_session(ue, session, wanted, last)

    async def _create_session(self, ue: UeContext, session: SgwSession, wanted: PdnRequest, pgw: str) -> PdnGranted:
        location = ue.known_location
        subscription = ue.subscription
        request = CreateSessionRequest(
            imsi=ue.imsi,
            msisdn=subscription.msisdn if subscription is not None else None,
            mei=ue.imeisv,
            uli=location.uli,
            serving_network=self._mme.serving_plmn(location),
            rat_type=RatType.EUTRAN,
            indication=Indication.DAF if wanted.pdn_type == nas.PdnType.IPV4V6 else None,
            sender_fteid=self.fteid(InterfaceType.S11_MME_GTP_C, session.s11_mme_teid, self._address),
            pgw_fteid=self.fteid(InterfaceType.S5_S8_PGW_GTP_C, 0, ip_address(pgw)),
            apn=f"{wanted.apn}.{wanted.operator_identifier}",
            selection_mode=SelectionMode.MS_OR_NETWORK_PROVIDED_APN_SUBSCRIPTION_VERIFIED,
            pdn_type=GtpPdnType(wanted.pdn_type),
            paa=_address_to_allocate(wanted),
            maximum_apn_restriction=0,
            ambr=wanted.ambr,
            pco=wanted.protocol_configuration_options,
            epco=wanted.extended_protocol_configuration_options,
            bearer_contexts_to_be_created=(BearerContextToBeCreated(ebi=wanted.ebi, bearer_qos=wanted.qos),),
            recovery=self.endpoint.restart_counter,         # so that the SGW notices a restart of ours before it makes anything new
            ue_time_zone=self._mme.ue_time_zone(),
            charging_characteristics=wanted.charging_characteristics,
        )
        exchange = asyncio.ensure_future(self._ask_for_phone(session, request, CreateSessionResponse))
        try:
            answer = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            self._end(abandon_creation, session, wanted.ebi, exchange)
            raise
        except Reject:
            if session.s11_sgw_teid and not session.pdns:       # the answer was unusable, but it says that there is a session
                await self.delete_pdn_connection(session, wanted.ebi, location.uli)
            raise
        cause = answer.cause.value
        if not answer.cause.is_accepted:
            kind = PgwUnavailable if cause in _ANOTHER_PGW_MAY else Reject
            raise kind(EmmCause.ESM_FAILURE, f"Create Session: {CauseValue(cause).name if cause in list(CauseValue) else cause}",
                       inner=_ESM_CAUSES.get(cause, EsmCause.REQUEST_REJECTED_BY_SERVING_GW_OR_PDN_GW))
        created = next((each for each in answer.bearer_contexts_created if each.ebi == wanted.ebi and each.cause.is_accepted), None)
        s1u = None if created is None else created.s1u_sgw_fteid
        address = None if answer.paa is None else _pdn_address(answer.paa)
        if answer.sender_fteid is not None:
            session.s11_sgw_teid = answer.sender_fteid.teid
        if created is None or s1u is None or address is None or not session.s11_sgw_teid:
            if session.s11_sgw_teid:
                await self.delete_pdn_connection(session, wanted.ebi, location.uli)
            raise Reject(EmmCause.ESM_FAILURE, "Create Session Response lacks what a bearer needs", inner=EsmCause.NETWORK_FAILURE)
        bearer = Bearer(wanted.ebi, created.bearer_qos or wanted.qos, s1u.teid, _address_of(s1u))
        pgw = pgw if answer.pgw_fteid is None else str(answer.pgw_fteid.host)
        pdn = PdnConnection(wanted.ebi, wanted.apn, pgw, address, answer.ambr or wanted.ambr, {wanted.ebi: bearer},
                            answer.change_reporting_action, location.uli, request.ue_time_zone, asyncio.get_running_loop().time())
        session.pdns[wanted.ebi] = pdn
        return PdnGranted(
            pdn=pdn, esm_cause=_narrowed(wanted.pdn_type, address, cause),
            protocol_configuration_options=answer.pco, extended_protocol_configuration_options=answer.epco)

    async def modify_bearer(self, session: SgwSession) -> None:
        """Tell the SGW the eNodeB's ends of all bearers that have one; raises :class:`Reject`.

        The phone's location, which the SGW has to pass on, is only for a PGW that asked to hear of changes (TS 29.274 table 7.2.7-1); on an
        attach it knows it already (TS 23.401 clause 5.3.2.1 steps 23 and 23a). The time zone is for every PGW, when it has changed: summer time.
        """
        owner = self._owner.get(session.s11_mme_teid)
        location = None if owner is None or owner.location is None else owner.location.uli
        time_zone = self._mme.ue_time_zone()
        for pdn in session.pdns.values():
            bearers = [bearer for bearer in pdn.bearers.values() if bearer.s1u_enb_teid is not None and bearer.s1u_enb_address is not None]
            if not bearers:
                continue
            told = location if location is not None and is_to_be_told(pdn, location) else None
            answer = await self._ask_for_phone(session, ModifyBearerRequest(
                uli=told, rat_type=None if told is None else RatType.EUTRAN,
                ue_time_zone=None if time_zone == pdn.reported_time_zone else time_zone,
                bearer_contexts_to_be_modified=tuple([
                    BearerContextToBeModified(
                        ebi=bearer.ebi, s1u_enb_fteid=self.fteid(InterfaceType.S1_U_ENODEB_GTP_U, bearer.s1u_enb_teid or 0, bearer.s1u_enb_address))
                    for bearer in bearers]),
            ), ModifyBearerResponse)
            if not answer.cause.is_accepted:
                raise Reject(EmmCause.NETWORK_FAILURE, f"Modify Bearer: {answer.cause.value}", inner=EsmCause.NETWORK_FAILURE)
            pdn.reported_uli = told or pdn.reported_uli
            pdn.reported_time_zone = time_zone
            take_action(pdn, answer.change_reporting_action)

    async def release_access_bearers(self, session: SgwSession) -> None:
        """The phone is idle: the SGW forgets the eNodeB's ends. Raises :class:`TimerExpired`."""
        for bearer in session.bearers():
            bearer.s1u_enb_teid = bearer.s1u_enb_address = None
        try:
            packet = await self.endpoint.request(session.sgw, session.s11_sgw_teid, ReleaseAccessBearersRequest(originating_node=NodeType.MME))
        except WireError as error:
            self._mme.log.info("s11.unreadable", what="release access bearers", error=str(error))
            return
        if isinstance(packet.message, ReleaseAccessBearersResponse) and not packet.message.cause.is_accepted:
            self._mme.metrics.protocol_error("S11", f"Release Access Bearers: {packet.message.cause.value}")

    async def delete_session(self, session: SgwSession, ue: UeContext) -> None:
        """End all PDN connections of ``session``; a caller that is cancelled does not stop it."""
        if ue.session is session:
            ue.session = None
        await asyncio.shield(self._end(delete_session, session, ue))

    def abandon_session(self, session: SgwSession, ue: UeContext) -> None:
        """The same, without waiting for the end."""
        if ue.session is session:
            ue.session = None
        self._end(delete_session, session, ue)

    def abandon_pdn_connection(self, session: SgwSession, linked_ebi: int) -> None:
        """End one PDN connection without waiting; for others of the same phone."""
        self._end(delete_pdn_connection, session, linked_ebi)

    def _end(self, how: Procedure, session: SgwSession, *more: object) -> asyncio.Task[Outcome]:
        """Run the procedure that ends (part of) ``session``, and remember it for those who want a new one for the same phone."""
        task = self._mme.runner.start(how, self._mme, session, *more)
        self._ending.setdefault(session.imsi, set()).add(task)
        task.add_done_callback(partial(self._ended, session.imsi))
        return task

    def _ended(self, imsi: str, task: asyncio.Task[Outcome]) -> None:
        ending = self._ending[imsi]
        ending.discard(task)
        if not ending:
            del self._ending[imsi]

    async def delete_pdn_connection(self, session: SgwSession, linked_ebi: int, uli: Uli | None) -> None:
        """End one PDN connection; raises nothing: a silent or unwilling SGW is counted, and its part is its own."""
        request = DeleteSessionRequest(linked_ebi=linked_ebi, uli=uli, indication=Indication.OI)
        try:
            packet = await self.endpoint.request(session.sgw, session.s11_sgw_teid, request)
        except TimerExpired:
            self._mme.metrics.protocol_error("S11", "Delete Session: no answer")
        except WireError as error:
            self._mme.metrics.protocol_error("S11", "Delete Session: unreadable answer")
            self._mme.log.info("s11.unreadable", what="delete session", error=str(error))
        else:
            if isinstance(packet.message, DeleteSessionResponse) and not packet.message.cause.is_accepted:
                self._mme.metrics.protocol_error("S11", f"Delete Session: {packet.message.cause.value}")
        session.pdns.pop(linked_ebi, None)

    async def command(self, session: SgwSession, command: Message) -> None:
        """A command (TS 29.274 clause 7.2.14): done when the PGW's request that follows from it is here. Raises :class:`Reject`, ``TimerExpired``."""
        try:
            packet = await self.endpoint.request(session.sgw, session.s11_sgw_teid, command)
        except WireError as error:
            raise Reject(CauseValue.INVALID_REPLY_FROM_REMOTE_PEER, str(error)) from None
        if packet.message.message_type in FAILURE_OF_COMMAND.values():
            cause = getattr(packet.message, "cause", None)
            raise Reject(CauseValue.REQUEST_REJECTED if cause is None else cause.value, type(packet.message).__name__)

    async def _ask_for_phone(self, session: SgwSession, request: Message, answer: type[A]) -> A:
        """A request whose failure the phone has to be told of: raises :class:`Reject` for silence and nonsense."""
        try:
            packet = await self.endpoint.request(session.sgw, session.s11_sgw_teid, request)
        except TimerExpired:
            raise Reject(EmmCause.ESM_FAILURE, f"no {answer.__name__} from {session.sgw}", inner=EsmCause.NETWORK_FAILURE) from None
        except WireError as error:
            if isinstance(error, GtpSyntaxError) and error.peer_teid:
                session.s11_sgw_teid = error.peer_teid
            raise Reject(EmmCause.ESM_FAILURE, f"{answer.__name__}: {error}", inner=EsmCause.NETWORK_FAILURE) from None
        if not isinstance(packet.message, answer):
            raise Reject(EmmCause.ESM_FAILURE, f"{type(packet.message).__name__} is no {answer.__name__}", inner=EsmCause.NETWORK_FAILURE)
        return packet.message

    def free(self, session: SgwSession) -> None:
        """The session is over: its TEID may be given again."""
        session.pdns.clear()
        owner = self._owner.pop(session.s11_mme_teid, None)
        if self.sessions.pop(session.s11_mme_teid, None) is not None:
            self.endpoint.unwatch(session.sgw)
        if owner is not None and owner.session is session:
            owner.session = None

    def owner_of(self, teid: int | None) -> UeContext | None:
        """The phone whose session has the MME's ``teid`` and is not being deleted; it may be just being made, by what runs for the phone."""
        ue = self._owner.get(teid or 0)
        if ue is None or (ue.session is None and ue.slot.running is not None):
            return ue
        return ue if ue.session is not None and ue.session.s11_mme_teid == teid else None

    def answer(self, request: RequestReceived, message: Message) -> None:
        """Answer an SGW's request."""
        self.endpoint.respond(request, message, self._remote_teid(request.teid or 0) or 0)

    def _new_teid(self) -> int:
        while True:
            teid = self._mme.entropy.getrandbits(32)
            if teid and teid not in self.sessions:
                return teid

    def _remote_teid(self, teid: int) -> int | None:
        session = self.sessions.get(teid)
        return None if session is None else session.s11_sgw_teid

    @staticmethod
    def fteid(interface_type: InterfaceType, teid: int, address: IPv4Address | IPv6Address | None) -> Fteid:
        if isinstance(address, IPv6Address):
            return Fteid(interface_type=interface_type, teid=teid, ipv6=address)
        return Fteid(interface_type=interface_type, teid=teid, ipv4=address)

    # requests of SGWs

    def _serve(self, request: RequestReceived) -> None:
        message = request.message
        ue = self.owner_of(request.teid)
        reply_type = REPLY_TO.get(message.message_type)
        if reply_type is None:
            return                      # a notification or a failure indication that no procedure of ours waits for
        if isinstance(message, PgwRestartNotification):
            pgw_restart_notification(self._mme, request)
        elif ue is None:
            self.answer(request, rejection(reply_type, Cause(value=CauseValue.CONTEXT_NOT_FOUND)))
        elif isinstance(message, DownlinkDataNotification):
            downlink_data_notification(self._mme, ue, request)
        elif isinstance(message, CreateBearerRequest):
            ue.slot.start(create_bearer, self._mme, ue, request)
        elif isinstance(message, UpdateBearerRequest):
            ue.slot.start(update_bearer, self._mme, ue, request)
        elif isinstance(message, DeleteBearerRequest):
            ue.slot.start(delete_bearer, self._mme, ue, request)
        else:
            self.answer(request, rejection(reply_type, Cause(value=CauseValue.SERVICE_NOT_SUPPORTED)))

    def _on_path_event(self, event: PathEvent) -> None:
        self._mme.log.warning(f"s11.{type(event).__name__}", sgw=event.host)
        if isinstance(event, PeerRestarted):
            self._mme.sgw_restarted(event.host)


def _address_to_allocate(wanted: PdnRequest) -> Paa:
    """An address of zeros asks the PGW for one of its own."""
    ipv4 = wanted.static_ipv4 or IPv4Address(0)
    match wanted.pdn_type:
        case nas.PdnType.IPV4:
            return Paa(pdn_type=GtpPdnType.IPV4, ipv4=ipv4)
        case nas.PdnType.IPV6:
            return Paa(pdn_type=GtpPdnType.IPV6, ipv6=IPv6Address(0), ipv6_prefix_length=0)
        case _:
            return Paa(pdn_type=GtpPdnType.IPV4V6, ipv4=ipv4, ipv6=IPv6Address(0), ipv6_prefix_length=0)


def _pdn_address(paa: Paa) -> nas.PdnAddress | None:
    """What the phone is told: of an IPv6 address the interface identifier (TS 24.301 clause 9.9.4.9)."""
    identifier = None if paa.ipv6 is None else paa.ipv6.packed[8:]
    match paa.pdn_type:
        case GtpPdnType.IPV4 if paa.ipv4 is not None:
            return nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=paa.ipv4)
        case GtpPdnType.IPV6 if identifier is not None:
            return nas.PdnAddress(pdn_type=nas.PdnType.IPV6, ipv6_interface_identifier=identifier)
        case GtpPdnType.IPV4V6 if identifier is not None and paa.ipv4 is not None:
            return nas.PdnAddress(pdn_type=nas.PdnType.IPV4V6, ipv4_address=paa.ipv4, ipv6_interface_identifier=identifier)
        case _:
            return None


def _narrowed(wanted: nas.PdnType, address: nas.PdnAddress, cause: int) -> EsmCause | None:
    """Why the phone got less than the dual stack that it wanted: TS 24.301 clause 6.2.2, TS 23.401 clause 5.3.1.1."""
    if wanted != nas.PdnType.IPV4V6 or address.pdn_type == nas.PdnType.IPV4V6:
        return None
    if cause == CauseValue.NEW_PDN_TYPE_DUE_TO_SINGLE_ADDRESS_BEARER_ONLY:
        return EsmCause.SINGLE_ADDRESS_BEARERS_ONLY_ALLOWED
    return EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED if address.pdn_type == nas.PdnType.IPV4 else EsmCause.PDN_TYPE_IPV6_ONLY_ALLOWED


def _address_of(fteid: Fteid) -> IPv4Address | IPv6Address:
    address = fteid.ipv4 or fteid.ipv6
    if address is None:
        raise Reject(EmmCause.ESM_FAILURE, "an F-TEID without address", inner=EsmCause.NETWORK_FAILURE)
    return address
