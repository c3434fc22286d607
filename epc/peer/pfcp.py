"""PFCP between one local entity and its peers, without I/O: TS 29.244 clauses 6.2, 6.4 and 7.6.

On top of what :mod:`epc.peer.exchange` does for requests, the machine sets up and keeps associations, answers and sends heartbeats, and notices a
peer that has restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from epc.peer.exchange import (
    Alarm,
    ExchangeObserver,
    PeerAddress,
    ReplyMissing,
    ReplyReceived,
    ReplyUnreadable,
    RequestMachine,
    Transaction,
    TransactionKey,
)
from epc.peer.timer import Timer
from epc.wire.errors import WireError
from epc.wire.pfcp import (
    REPLY_TO,
    AssociationReleaseRequest,
    AssociationReleaseRequestFlags,
    AssociationReleaseResponse,
    AssociationSetupRequest,
    AssociationSetupResponse,
    AssociationUpdateRequest,
    AssociationUpdateResponse,
    CauseValue,
    CpFunctionFeatures,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    MessageType,
    NodeIdentity,
    Packet,
    PfcpSyntaxError,
    SessionEstablishmentRequest,
    UnknownMessageType,
    UpFunctionFeatures,
    UserPlaneIpResourceInformation,
    VersionNotSupported,
    VersionNotSupportedResponse,
    decode,
    encode,
    rejection,
)

PFCP_PORT = 8805                # where requests go, whatever port a peer's own come from (TS 29.244 clause 4.4.2)
T1 = Timer("T1", 3.0, 2)        # with N1 = 3 transmissions in all (TS 29.244 clause 6.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PfcpTimers:
    t1: Timer = T1
    heartbeat_interval_s: float | None = 60.0
    """``None``: no Heartbeat Requests are sent."""
    association_retry_s: float = 5.0
    """From one attempt to set up an association that failed to the next."""
    duplicates_s: float = 15.0
    """How long an answer is kept for repeated requests: longer than the peer's T1 times N1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEntity:
    """What we say of ourselves when an association is set up; a CP function has no UP features, and the other way round."""

    node_id: NodeIdentity
    recovery_time_stamp_ntp: int                # when this entity started
    up_function_features: UpFunctionFeatures | None = None
    cp_function_features: CpFunctionFeatures | None = None
    user_plane_ip_resources: tuple[UserPlaneIpResourceInformation, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Association:
    """A peer with which sessions can be established (TS 29.244 clause 6.2.6)."""

    node_id: NodeIdentity                       # the peer's
    peer: PeerAddress
    recovery_time_stamp_ntp: int
    up_function_features: UpFunctionFeatures | None = None
    cp_function_features: CpFunctionFeatures | None = None
    user_plane_ip_resources: tuple[UserPlaneIpResourceInformation, ...] = ()
    is_reachable: bool = True                   # as the heartbeats tell


# --- events -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A request, once however often it came. Hand it back to :meth:`PfcpMachine.respond`."""

    message: Message
    seid: int | None
    sequence: int
    peer: PeerAddress


class LossReason(Enum):
    RELEASED = "released"       # either side asked for it
    RESTARTED = "restarted"     # the peer's Recovery Time Stamp is another one
    REPLACED = "replaced"       # the peer set the association up anew


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationEstablished:
    association: Association


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationLost:
    """All sessions of the association are void (TS 29.244 clauses 6.2.6.2.2, 6.2.8, TS 23.007 clause 31)."""

    association: Association
    reason: LossReason


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFailed:
    """An associated peer left its Heartbeat Requests unanswered; the association stands."""

    association: Association


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRestored:
    """An associated peer that had failed answers again, and has not restarted."""

    association: Association


AssociationEvent = AssociationEstablished | AssociationLost | PathFailed | PathRestored
Event = RequestReceived | ReplyReceived[Packet] | ReplyUnreadable | ReplyMissing | AssociationEvent


# --- the machine --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Path:
    association: Association
    next_heartbeat: float = 0.0
    heartbeat: TransactionKey | None = None


class PfcpMachine(RequestMachine[Event]):
    """All peers of one local PFCP entity."""

    def __init__(
        self,
        local: LocalEntity,
        *,
        timers: PfcpTimers | None = None,
        first_sequence: int = 0,
        observer: ExchangeObserver | None = None,
        remote_seid: Callable[[int], int | None] | None = None,
        max_cached_answers: int = 65536,
    ) -> None:
        """``remote_seid`` finds the peer's SEID for a local one, to answer malformed requests of an existing session."""
        self.local = local
        self.timers = timers or PfcpTimers()
        super().__init__(
            sequence_numbers=1 << 24, first_sequence=first_sequence, duplicates_s=self.timers.duplicates_s, observer=observer,
            max_cached_answers=max_cached_answers,
        )
        self._remote_seid = remote_seid
        self._paths: dict[str, _Path] = {}                      # by the associated peer's host
        self._wanted: dict[str, tuple[PeerAddress, float]] = {}     # hosts to have an association with, and when to try again
        self._heartbeats = Alarm(self._heartbeat, self._wants_heartbeat)
        self._attempts = Alarm(self._setup, self._wants_association)

    # What the owner collects

    def associations(self) -> Iterable[Association]:
        return tuple(path.association for path in self._paths.values())

    def association_with(self, host: str) -> Association | None:
        path = self._paths.get(host)
        return None if path is None else path.association

    # What the owner does

    def request(self, peer: PeerAddress, message: Message, *, seid: int | None, now: float, timer: Timer | None = None) -> TransactionKey:
        """Send a request and expect its answer; ``seid`` is the peer's, ``None`` for node related messages."""
        return self._request(peer, message, seid, now, timer or self.timers.t1, is_own=False)

    def respond(self, request: RequestReceived, message: Message, *, seid: int | None) -> None:
        """Answer a request; repeated ones get the same octets without asking again."""
        octets = encode(message, seid=seid, sequence=request.sequence)
        self._note_answer((request.peer, request.sequence, request.message.message_type), octets)
        self._send(octets, request.peer, message.message_type)

    def associate(self, peer: PeerAddress, now: float) -> None:
        """Have an association with this peer from now on: set it up, again after it was lost or refused, until :meth:`release`."""
        self._wanted[peer[0]] = (peer, now)
        if peer[0] not in self._paths:
            self._setup(peer[0], now)

    def release(self, host: str, now: float) -> None:
        """End the association; its sessions are void at once (TS 29.244 clause 6.2.8)."""
        self._wanted.pop(host, None)
        path = self._paths.get(host)
        if path is not None:
            self._request(path.association.peer, AssociationReleaseRequest(node_id=self.local.node_id), None, now, self.timers.t1, is_own=True)
            self._lose(path, LossReason.RELEASED)

    # Associations

    def _setup(self, host: str, now: float) -> None:
        peer, _ = self._wanted[host]
        local = self.local
        request = AssociationSetupRequest(
            node_id=local.node_id, recovery_time_stamp_ntp=local.recovery_time_stamp_ntp, up_function_features=local.up_function_features,
            cp_function_features=local.cp_function_features, user_plane_ip_resources=local.user_plane_ip_resources,
        )
        self._request(peer, request, None, now, self.timers.t1, is_own=True)

    def _setup_later(self, host: str, now: float) -> None:
        if host in self._wanted and host not in self._paths:
            when = now + self.timers.association_retry_s
            self._wanted[host] = (self._wanted[host][0], when)
            self._at(when, self._attempts, host)

    def _associated(self, message: AssociationSetupRequest | AssociationSetupResponse, peer: PeerAddress, time_stamp: int, now: float) -> None:
        association = Association(
            node_id=message.node_id, peer=peer, recovery_time_stamp_ntp=time_stamp, up_function_features=message.up_function_features,
            cp_function_features=message.cp_function_features, user_plane_ip_resources=message.user_plane_ip_resources,
        )
        path = self._paths[peer[0]] = _Path(association)
        if self.timers.heartbeat_interval_s is not None:
            path.next_heartbeat = now + self.timers.heartbeat_interval_s
            self._at(path.next_heartbeat, self._heartbeats, peer[0])
        self._events.append(AssociationEstablished(association=association))

    def _lose(self, path: _Path, reason: LossReason) -> None:
        host = path.association.peer[0]
        del self._paths[host]
        if path.heartbeat is not None:
            self._transactions.pop(path.heartbeat, None)
        self._events.append(AssociationLost(association=path.association, reason=reason))

    def _note_time_stamp(self, host: str, time_stamp: int, now: float) -> None:
        """A Recovery Time Stamp in a heartbeat: a later one says that the peer has restarted (TS 23.007 clause 31)."""
        path = self._paths.get(host)
        if path is None:
            return
        previous = path.association.recovery_time_stamp_ntp
        if time_stamp != previous and (time_stamp - previous) & 0xFFFFFFFF < 0x80000000:
            self._lost_by_peer(path, now)

    def _lost_by_peer(self, path: _Path, now: float) -> None:
        """The peer has started anew and knows nothing of us."""
        host = path.association.peer[0]
        self._lose(path, LossReason.RESTARTED)
        if host in self._wanted:
            self._setup(host, now)

    def _serve_node(self, message: Message, packet: Packet, peer: PeerAddress, now: float) -> Message | None:
        """The answer to what concerns associations; ``None`` leaves the request to the owner."""
        local = self.local
        path = self._paths.get(peer[0])
        if isinstance(message, HeartbeatRequest):
            self._note_time_stamp(peer[0], message.recovery_time_stamp_ntp, now)
            return HeartbeatResponse(recovery_time_stamp_ntp=local.recovery_time_stamp_ntp)
        if isinstance(message, AssociationSetupRequest):
            if path is not None:
                restarted = path.association.recovery_time_stamp_ntp != message.recovery_time_stamp_ntp
                self._lose(path, LossReason.RESTARTED if restarted else LossReason.REPLACED)
            known_peer = self._wanted[peer[0]][0] if peer[0] in self._wanted else (peer[0], PFCP_PORT)
            self._associated(message, known_peer, message.recovery_time_stamp_ntp, now)
            return AssociationSetupResponse(
                node_id=local.node_id, cause=CauseValue.REQUEST_ACCEPTED, recovery_time_stamp_ntp=local.recovery_time_stamp_ntp,
                up_function_features=local.up_function_features, cp_function_features=local.cp_function_features,
                user_plane_ip_resources=local.user_plane_ip_resources,
            )
        if isinstance(message, AssociationUpdateRequest):
            if path is None:
                return AssociationUpdateResponse(node_id=local.node_id, cause=CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION)
            self._update(path.association, message)
            if message.association_release_request and AssociationReleaseRequestFlags.SARR in message.association_release_request:
                self.release(peer[0], now)
            return AssociationUpdateResponse(node_id=local.node_id, cause=CauseValue.REQUEST_ACCEPTED)
        if isinstance(message, AssociationReleaseRequest):
            if path is None:
                return AssociationReleaseResponse(node_id=local.node_id, cause=CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION)
            self._lose(path, LossReason.RELEASED)
            self._setup_later(peer[0], now)
            return AssociationReleaseResponse(node_id=local.node_id, cause=CauseValue.REQUEST_ACCEPTED)
        if isinstance(message, SessionEstablishmentRequest) and not any(each.association.node_id == message.node_id for each in self._paths.values()):
            self._observer.discarded("no_association")
            return rejection(MessageType.SESSION_ESTABLISHMENT_RESPONSE, CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION, node_id=local.node_id)
        return None

    def _update(self, association: Association, message: AssociationUpdateRequest) -> None:
        if message.up_function_features is not None:
            association.up_function_features = message.up_function_features
        if message.cp_function_features is not None:
            association.cp_function_features = message.cp_function_features
        if message.user_plane_ip_resources:
            association.user_plane_ip_resources = message.user_plane_ip_resources

    # Time

    def _wants_association(self, host: str, when: float) -> bool:
        wanted = self._wanted.get(host)
        return host not in self._paths and wanted is not None and wanted[1] == when

    def _wants_heartbeat(self, host: str, when: float) -> bool:
        path = self._paths.get(host)
        return path is not None and path.next_heartbeat == when

    def _heartbeat(self, host: str, now: float) -> None:
        assert self.timers.heartbeat_interval_s is not None
        path = self._paths[host]
        if path.heartbeat is None:
            message = HeartbeatRequest(recovery_time_stamp_ntp=self.local.recovery_time_stamp_ntp)
            path.heartbeat = self._request(path.association.peer, message, None, now, self.timers.t1, is_own=True)
        path.next_heartbeat = now + self.timers.heartbeat_interval_s
        self._at(path.next_heartbeat, self._heartbeats, host)

    def _own_request_unanswered(self, transaction: Transaction, now: float) -> None:
        host = transaction.peer[0]
        path = self._paths.get(host)
        if path is not None and path.heartbeat == transaction.key:
            path.heartbeat = None
            if path.association.is_reachable:
                path.association.is_reachable = False
                self._events.append(PathFailed(association=path.association))
        elif transaction.message_type == MessageType.ASSOCIATION_SETUP_REQUEST:
            self._setup_later(host, now)

    # Receiving

    def receive(self, data: bytes, peer: PeerAddress, now: float) -> None:
        """Take one datagram. Nothing a peer sends makes this raise."""
        try:
            packet = decode(data)
        except PfcpSyntaxError as error:
            self._received_malformed(error, peer)
            return
        except UnknownMessageType:
            self._observer.discarded("unknown_type")
            return
        except VersionNotSupported as error:
            self._observer.discarded("version")
            if error.message_type != MessageType.VERSION_NOT_SUPPORTED_RESPONSE:
                octets = encode(VersionNotSupportedResponse(), seid=None, sequence=error.sequence)
                self._send(octets, peer, MessageType.VERSION_NOT_SUPPORTED_RESPONSE)
            return
        except WireError:
            self._observer.discarded("short")
            return
        self._observer.received(packet.message.message_type)
        if packet.message.message_type in REPLY_TO:
            self._received_request(packet, peer, now)
        else:
            self._received_reply(packet, peer, now)

    def _received_request(self, packet: Packet, peer: PeerAddress, now: float) -> None:
        message = packet.message
        key = (peer, packet.sequence, int(message.message_type))
        if self._is_repeated(key, message.message_type, now):
            return
        self._remember(key, now)
        request = RequestReceived(message=message, seid=packet.seid, sequence=packet.sequence, peer=peer)
        reply = self._serve_node(message, packet, peer, now)
        if reply is None:
            self._events.append(request)
            return
        seid = message.cp_fseid.seid if isinstance(message, SessionEstablishmentRequest) else None
        self.respond(request, reply, seid=seid)

    def _received_reply(self, packet: Packet, peer: PeerAddress, now: float) -> None:
        message = packet.message
        key = TransactionKey(peer[0], packet.sequence)
        transaction = self._transactions.get(key)
        expected = None if transaction is None else REPLY_TO[transaction.message_type]
        if transaction is None or message.message_type not in (expected, MessageType.VERSION_NOT_SUPPORTED_RESPONSE):
            self._observer.discarded("unexpected")
            return
        del self._transactions[key]
        path = self._paths.get(peer[0])
        if path is not None and path.heartbeat == key:
            path.heartbeat = None
        if isinstance(message, HeartbeatResponse):
            self._note_time_stamp(peer[0], message.recovery_time_stamp_ntp, now)
            path = self._paths.get(peer[0])
        if path is not None and not path.association.is_reachable:
            path.association.is_reachable = True
            self._events.append(PathRestored(association=path.association))
        if transaction.is_own:
            if isinstance(message, AssociationSetupResponse):
                self._received_setup_response(message, transaction.peer, now)
            elif transaction.message_type == MessageType.ASSOCIATION_SETUP_REQUEST:
                self._setup_later(peer[0], now)
        elif isinstance(message, VersionNotSupportedResponse):
            error = VersionNotSupported(1, message_type=transaction.message_type, sequence=packet.sequence)
            self._events.append(ReplyUnreadable(transaction=key, error=error))
        else:
            self._events.append(ReplyReceived(transaction=key, packet=packet, peer=peer))
            if path is not None and getattr(message, "cause", None) == CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION:
                self._lost_by_peer(path, now)

    def _received_setup_response(self, message: AssociationSetupResponse, peer: PeerAddress, now: float) -> None:
        if message.cause >= CauseValue.REQUEST_REJECTED or message.recovery_time_stamp_ntp is None:
            self._setup_later(peer[0], now)
        elif peer[0] not in self._paths and peer[0] in self._wanted:        # both sides may have asked at once
            self._associated(message, peer, message.recovery_time_stamp_ntp, now)

    def _received_malformed(self, error: PfcpSyntaxError, peer: PeerAddress) -> None:
        """Answer a request with its cause (TS 29.244 clause 7.6); tell who waits for a response; drop the rest."""
        self._observer.discarded("syntax")
        reply = REPLY_TO.get(error.message_type)
        if reply is not None:
            if reply is not MessageType.HEARTBEAT_RESPONSE:
                seid = None
                if reply >= MessageType.SESSION_ESTABLISHMENT_RESPONSE:
                    seid = error.peer_seid
                    if not seid and error.seid and self._remote_seid is not None:
                        seid = self._remote_seid(error.seid) or 0
                message = rejection(reply, error.cause, node_id=self.local.node_id, offending_ie=error.ie_type)
                self._send(encode(message, seid=seid, sequence=error.sequence), peer, reply)
            return
        transaction = self._transactions.get(TransactionKey(peer[0], error.sequence))
        if transaction is not None and not transaction.is_own and REPLY_TO[transaction.message_type] == error.message_type:
            self.cancel(transaction.key)
            self._events.append(ReplyUnreadable(transaction=transaction.key, error=error))

    # Sending

    def _request(self, peer: PeerAddress, message: Message, seid: int | None, now: float, timer: Timer, *, is_own: bool) -> TransactionKey:
        key = self._new_sequence(peer[0])
        octets = encode(message, seid=seid, sequence=key.sequence)
        self._begin(key, peer, message.message_type, octets, timer, now, is_own=is_own)
        return key
