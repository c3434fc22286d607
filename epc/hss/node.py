"""The HSS as a node: S6a requests in, answers out, and what the operator may tell it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple, TypeVar

from epc.hss.authentication_information import authentication_information
from epc.hss.cancel_location import withdraw
from epc.hss.config import HssConfig
from epc.hss.delete_subscriber_data import delete_subscriber_data
from epc.hss.insert_subscriber_data import STATE_OF_THE_UE, insert_subscriber_data
from epc.hss.notify import notify
from epc.hss.provisioning import expand
from epc.hss.provisioning.fields import parse_yes_no
from epc.hss.purge_ue import purge_ue
from epc.hss.reset import reset
from epc.hss.store import StoreError, Subscriber, SubscriberStore, open_store
from epc.hss.update_location import update_location
from epc.node.node import Command, Node, View
from epc.node.state import AssociatedPeer, diameter_peers
from epc.peer.diameter import LocalIdentity
from epc.peer.timer import TimerExpired
from epc.procedure import Outcome, Reject, stopwatch
from epc.procedure.outcome import cause_name
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Transport
from epc.wire.diameter import (
    S6A_APPLICATION,
    Answer,
    DiameterError,
    ExperimentalResultCode,
    Message,
    Packet,
    Request,
    ResultCode,
    experimental_result,
)
from epc.wire.diameter.s6a import (
    AuthenticationInformationAnswer,
    AuthenticationInformationRequest,
    ErrorDiagnostic,
    NotifyAnswer,
    NotifyRequest,
    PurgeUeAnswer,
    PurgeUeRequest,
    S6aAnswer,
    UpdateLocationAnswer,
    UpdateLocationRequest,
)

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

# Answers kept for requests that come again with the T bit, after an MME's connection failed over: some ten seconds of full load.
DUPLICATES_REMEMBERED = 8192


class Mme(NamedTuple):
    """The Diameter identity of an MME."""

    host: str
    realm: str


class _Procedure(NamedTuple):
    name: str
    run: Callable[[Hss, Any], Awaitable[S6aAnswer]]
    answer: type[S6aAnswer]
    on_store_error: ResultCode | ExperimentalResultCode


PROCEDURES: dict[type[Message], _Procedure] = {
    AuthenticationInformationRequest: _Procedure(
        "authentication_information", authentication_information, AuthenticationInformationAnswer,
        ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE),
    UpdateLocationRequest: _Procedure("update_location", update_location, UpdateLocationAnswer, ResultCode.DIAMETER_UNABLE_TO_COMPLY),
    PurgeUeRequest: _Procedure("purge_ue", purge_ue, PurgeUeAnswer, ResultCode.DIAMETER_UNABLE_TO_COMPLY),
    NotifyRequest: _Procedure("notify", notify, NotifyAnswer, ResultCode.DIAMETER_UNABLE_TO_COMPLY),
}


class Hss(Node[HssConfig]):
    """Home Subscriber Server: TS 29.272 (S6a), with the authentication centre of TS 33.102 inside."""

    kind = "hss"
    config_model = HssConfig

    def __init__(
        self,
        config: HssConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self._store: SubscriberStore | None = None
        self.s6a = DiameterNode(
            transport, LocalIdentity(origin_host=config.origin_host, origin_realm=config.origin_realm, applications=(S6A_APPLICATION,)),
            interface="S6a", entropy=self.entropy, clock=clock, on_request=self._serve, listen=[each.listen for each in config.s6a.listen],
            peers=[each.peer for each in config.s6a.peers], local=config.s6a.local, timers=config.s6a.peer_timers,
            accept_unknown_peers=config.s6a.accept_unknown_peers, duplicates_remembered=DUPLICATES_REMEMBERED, observer=self.metrics)
        self.vectors = self.metrics.counter("authentication_vectors", "Authentication vectors handed out")
        self.resynchronisations = self.metrics.counter("resynchronisations", "Re-synchronisations of SQN asked for by UEs", ("result",))

    # life

    async def start(self) -> None:
        self._store = await open_store(self.config.database_url)
        for provisioned in self.config.subscribers:
            first, number = provisioned.parsed()
            await self.store.put_many([each for each in expand(first, number) if await self.store.get(each.imsi) is None])
        await self.s6a.start()

    async def stop(self) -> None:
        await self.s6a.stop()
        await self.runner.stop()
        if self._store is not None:
            await self._store.close()
            self._store = None

    def is_ready(self) -> bool:
        return self._store is not None and (not self.config.s6a.peers or self.s6a.is_connected())

    @property
    def store(self) -> SubscriberStore:
        """The database; open while the node runs."""
        if self._store is None:
            raise StoreError("the HSS is not running")
        return self._store

    # what procedures need

    async def subscriber(self, imsi: str) -> Subscriber:
        """Raises :class:`Reject` with DIAMETER_ERROR_USER_UNKNOWN."""
        subscriber = await self.store.get(imsi)
        if subscriber is None:
            raise Reject(ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN, f"no subscriber {imsi}")
        return subscriber

    async def eps_subscriber(self, imsi: str) -> Subscriber:
        """Raises :class:`Reject` also for a subscriber without any APN: DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION."""
        subscriber = await self.subscriber(imsi)
        if not subscriber.apns:
            raise Reject(ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION, f"subscriber {imsi} has no APN",
                         inner=ErrorDiagnostic.NO_GPRS_DATA_SUBSCRIBED)
        return subscriber

    def serving_mme(self, subscriber: Subscriber) -> Mme:
        """Raises ``LookupError`` when no MME serves the subscriber."""
        if subscriber.mme_host is None or subscriber.purged:
            raise LookupError(f"no MME serves subscriber {subscriber.imsi}")
        return Mme(subscriber.mme_host, subscriber.mme_realm or self.config.origin_realm)

    async def ask(self, request: Request, expected: type[A]) -> A:
        """Send a request of the HSS's own. Raises :class:`Reject` with the result when it is no success, ``TimerExpired``, ``ConnectionError``."""
        answer = (await self.s6a.request(request)).message
        result = answer.result if isinstance(answer, Answer) else None
        if not isinstance(answer, expected) or not answer.is_success:
            raise Reject(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"{type(request).__name__}: {cause_name(result or 'no result')}")
        return answer

    # requests

    async def _serve(self, packet: Packet) -> S6aAnswer:
        request = packet.message
        procedure = PROCEDURES.get(type(request))
        if procedure is None:
            raise DiameterError(f"an HSS gets no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)
        clock = stopwatch()
        started = clock()
        outcome, cause = Outcome.SUCCESS, ""
        self.metrics.procedure_started(procedure.name)
        try:
            return await procedure.run(self, request)
        except Reject as reject:
            outcome, cause = Outcome.REJECTED, cause_name(reject.cause)
            self.log.info("procedure.rejected", procedure=procedure.name, cause=cause, detail=str(reject), imsi=getattr(request, "user_name", ""))
            return self._refusal(procedure, request, reject)
        except StoreError as error:
            outcome, cause = Outcome.ERROR, "database"
            self.log.error("database.failed", procedure=procedure.name, reason=str(error))
            return self._refusal(procedure, request, Reject(procedure.on_store_error, "database"))
        except asyncio.CancelledError:
            outcome, cause = Outcome.ABORTED, "cancelled"
            raise
        finally:
            self.metrics.procedure_finished(procedure.name, outcome, cause, clock() - started)

    def _refusal(self, procedure: _Procedure, request: Any, reject: Reject) -> S6aAnswer:
        """A 3GPP result goes into Experimental-Result, one of the base protocol into Result-Code: never both (RFC 6733 clause 7.6)."""
        cause = reject.cause
        answer = procedure.answer(
            session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            result_code=cause if isinstance(cause, ResultCode) else None,
            experimental_result=experimental_result(cause) if isinstance(cause, ExperimentalResultCode) else None)
        if reject.inner is not None and isinstance(answer, AuthenticationInformationAnswer | UpdateLocationAnswer):
            return replace(answer, error_diagnostic=reject.inner)
        return answer

    # the operator

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers("S6a", self.s6a)

    def views(self) -> Mapping[str, View]:
        return {"peers": lambda: [asdict(peer) for peer in self.s6a.peers()]}

    def commands(self) -> Mapping[str, Command]:
        return {
            "subscribers": self._subscribers,
            "subscriber": self._subscriber,
            "mmes": self._mmes,
            "cancel_location": self._cancel_location,
            "insert_subscriber_data": self._insert_subscriber_data,
            "delete_subscriber_data": self._delete_subscriber_data,
            "locate": self._locate,
            "reset": self._reset,
        }

    async def _subscribers(self) -> object:
        registered = await self.store.count_by_mme()
        return {"subscribers": await self.store.count(), "registered": sum(registered.values())}

    async def _mmes(self) -> object:
        connected = {peer.host.lower() for peer in self.s6a.peers() if peer.is_usable}
        return [{"mme": host, "registered": number, "connected": host.lower() in connected}
                for host, number in (await self.store.count_by_mme()).items()]

    async def _subscriber(self, *, imsi: str) -> object:
        subscriber = await self._told(self.subscriber(imsi))
        shown = asdict(subscriber)
        for secret in ("k", "opc", "op"):
            del shown[secret]
        return shown | {"amf": subscriber.amf.hex()}

    async def _cancel_location(self, *, imsi: str, reattach: str = "no") -> object:
        await self._told(withdraw(self, imsi, reattach_required=parse_yes_no(reattach, "reattach")))
        return f"{imsi} is withdrawn from its MME"

    async def _insert_subscriber_data(self, *, imsi: str) -> object:
        await self._told(insert_subscriber_data(self, imsi))
        return f"the MME has the subscription of {imsi}"

    async def _delete_subscriber_data(self, *, imsi: str, context_ids: str) -> object:
        ids = [int(each) for each in context_ids.split(",") if each.strip().isdigit()]
        if not ids:
            raise ValueError("context_ids: the ids of APNs, separated by commas")
        await self._told(delete_subscriber_data(self, imsi, ids))
        return f"APNs {', '.join(map(str, ids))} of {imsi} are deleted"

    async def _locate(self, *, imsi: str) -> object:
        answer = await self._told(insert_subscriber_data(self, imsi, flags=STATE_OF_THE_UE))
        state = answer.eps_user_state.mme_user_state.user_state if answer.eps_user_state and answer.eps_user_state.mme_user_state else None
        location = answer.eps_location_information.mme_location_information if answer.eps_location_information else None
        return {
            "user_state": None if state is None else cause_name(state),
            "cell": location.e_utran_cell_global_identity.hex() if location and location.e_utran_cell_global_identity else None,
            "tracking_area": location.tracking_area_identity.hex() if location and location.tracking_area_identity else None,
        }

    async def _reset(self, *, mme: str = "") -> object:
        """All MMEs that are connected or known to serve somebody, also behind agents, or the one named."""
        realms = {each.peer.host: each.peer.realm for each in self.s6a.relay_peers() if each.peer.is_usable and not each.peer.is_relay}
        realms |= {host: realm or self.config.origin_realm for host, realm in await self.store.serving_mmes()}
        hosts = [host for host in realms if mme.lower() in ("", host.lower())]
        if not hosts:
            raise LookupError(f"no MME {mme}".rstrip())
        for host in hosts:
            await self._told(reset(self, host, realms[host]))
        return hosts

    @staticmethod
    async def _told(work: Awaitable[T]) -> T:
        """What went wrong between HSS and MME, as the admin API tells it."""
        try:
            return await work
        except (Reject, TimerExpired, ConnectionError) as error:
            raise LookupError(str(error)) from error
