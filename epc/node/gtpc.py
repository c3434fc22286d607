"""What every node with a GTP-C interface needs: its settings, its restart counter, and one place that answers requests that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import Field, field_validator

from epc.node.config import Host, Port, Seconds, Section
from epc.node.node import Node
from epc.peer.gtpc import GtpcTimers, RequestReceived
from epc.peer.timer import Timer, TimerExpired
from epc.procedure import Reject
from epc.transport.gtpc import GTPC_PORT, GtpcEndpoint, load_and_increment
from epc.transport.interface import Address
from epc.wire.errors import WireError
from epc.wire.gtpv2 import FAILURE_OF_COMMAND, REPLY_TO, Cause, CauseValue, OffendingIe, rejection


def _usable(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        raise ValueError("peers need an address that they can send to")
    return host


class GtpcInterface(Section):
    """Our own end of a GTP-C interface; peers see this address in F-TEIDs."""

    host: Host
    port: Port = GTPC_PORT

    @field_validator("host")
    @classmethod
    def _is_usable(cls, host: str) -> str:
        return _usable(host)

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class GtpuInterface(Section):
    """Our own end of a GTP-U interface, always on port 2152; peers see this address in F-TEIDs."""

    host: Host

    @field_validator("host")
    @classmethod
    def _is_usable(cls, host: str) -> str:
        return _usable(host)


class GtpcSettings(Section):
    """Reliable delivery (TS 29.274 clause 7.6) and path supervision (TS 23.007 clause 20)."""

    t3_response_s: Seconds = Field(default=3.0, description="time to an answer, T3-RESPONSE")
    n3_requests: Annotated[int, Field(ge=1, le=10)] = Field(default=3, description="how often a request is sent in all, N3-REQUESTS")
    n3_requests_phone: Annotated[int, Field(ge=1, le=30)] = Field(
        default=15, description="the same for requests whose answer waits for the phone: bearers that are set up, changed and taken away")
    echo_interval_s: Annotated[float, Field(ge=60)] | None = Field(default=60.0, description="null: no Echo Requests")

    @property
    def timers(self) -> GtpcTimers:
        return GtpcTimers(t3_response=Timer("T3-RESPONSE", self.t3_response_s, self.n3_requests - 1), echo_interval_s=self.echo_interval_s)

    @property
    def t3_phone(self) -> Timer:
        """A phone may take as long as all of T3485, T3486 or T3495 (TS 29.274 clause 7.6)."""
        return Timer("T3-RESPONSE", self.t3_response_s, self.n3_requests_phone - 1)


def restart_counter(node: Node[Any]) -> int:
    """For this start: counted in the state directory, else the clock's seconds, which grow from one start to the next as well."""
    directory = node.config.state_directory
    if directory is None:
        return int(node.clock()) & 0xFF
    return load_and_increment(directory / f"{node.config.name}.restart_counter")


class GtpReject(Reject):
    """Ends a procedure with a Cause element that says more than its value: offending element, or that it comes from further on."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(cause.value, detail)
        self.element = cause


@asynccontextmanager
async def answering(endpoint: GtpcEndpoint, received: RequestReceived, teid: Callable[[], int]) -> AsyncIterator[None]:
    """A request that cannot be served is answered with its cause, to the peer's ``teid()``; a success answers for itself."""
    try:
        yield
    except Exception as error:
        reply = REPLY_TO.get(received.message.message_type) or FAILURE_OF_COMMAND.get(received.message.message_type)
        if reply is not None:
            endpoint.respond(received, rejection(reply, cause_for(error)), teid())
        raise


def cause_for(error: Exception) -> Cause:
    """What a peer is told when ``error`` ended the procedure that it asked for."""
    if isinstance(error, GtpReject):
        return error.element
    if isinstance(error, Reject) and isinstance(error.cause, int):
        return Cause(value=error.cause)
    if isinstance(error, TimerExpired):
        return Cause(value=CauseValue.REMOTE_PEER_NOT_RESPONDING)
    if isinstance(error, WireError):
        return Cause(value=CauseValue.INVALID_REPLY_FROM_REMOTE_PEER)
    return Cause(value=CauseValue.SYSTEM_FAILURE)


def refuse(endpoint: GtpcEndpoint, received: RequestReceived, cause: CauseValue, teid: int = 0, *, offending_ie: OffendingIe | None = None) -> None:
    """Answer without starting a procedure; messages that have no answer are dropped."""
    reply = REPLY_TO.get(received.message.message_type) or FAILURE_OF_COMMAND.get(received.message.message_type)
    if reply is not None:
        endpoint.respond(received, rejection(reply, Cause(value=cause, offending_ie=offending_ie)), teid)
