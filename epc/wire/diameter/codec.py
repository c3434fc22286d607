"""Messages: the header, the registry of commands, ``encode`` and ``decode``."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar, dataclass_transform

from epc.wire.diameter.avp import Avp
from epc.wire.diameter.groups import ExperimentalResult, ProxyInfo
from epc.wire.diameter.results import DiameterError, ExperimentalResultCode, ResultCode
from epc.wire.diameter.schema import HEADER, FailedAvp, Group, avp_group, decode_avps, decode_raw_avps, encode_avps, table_of
from epc.wire.errors import WireError

REQUEST_BIT = 0x80              # "R"        RFC 6733 clause 3
PROXIABLE_BIT = 0x40            # "P"
ERROR_BIT = 0x20                # "E"
RETRANSMITTED_BIT = 0x10        # "T"
HEADER_OCTETS = 20
SESSION_ID = 263                # the Session-Id AVP's code

_HEADER = struct.Struct("!IIIII")
M = TypeVar("M", bound="Message")


class Header(NamedTuple):
    """The Diameter header (RFC 6733 clause 3)."""

    flags: int
    command_code: int
    application_id: int
    hop_by_hop: int             # matches an answer to its request on one connection; allocated by the sender of the request
    end_to_end: int             # names the request for duplicate detection; allocated by its originator, kept by agents

    @property
    def is_request(self) -> bool:
        return bool(self.flags & REQUEST_BIT)

    @property
    def is_proxiable(self) -> bool:
        return bool(self.flags & PROXIABLE_BIT)

    @property
    def is_error(self) -> bool:
        return bool(self.flags & ERROR_BIT)

    @property
    def is_retransmitted(self) -> bool:
        return bool(self.flags & RETRANSMITTED_BIT)


@avp_group
class Message(Group):
    """Base of all messages."""


@avp_group
class Request(Message):
    """Base of all requests."""


@avp_group
class Answer(Message):
    """Base of all answers. A subclass has ``result_code``, ``experimental_result`` or both."""

    @property
    def result(self) -> ResultCode | ExperimentalResultCode | int | None:
        """What the peer says became of the request, whichever of the two AVPs carries it."""
        result_code: ResultCode | int | None = getattr(self, "result_code", None)
        if result_code is not None:
            return result_code
        experimental: ExperimentalResult | None = getattr(self, "experimental_result", None)
        return experimental.experimental_result_code if experimental else None

    @property
    def is_success(self) -> bool:
        result = self.result
        return result is not None and 2000 <= result <= 2999


class Command(NamedTuple):
    """What the header says about a message class. ``application_id`` None: the one that the message's Auth-Application-Id names."""

    code: int
    application_id: int | None
    is_proxiable: bool
    name: str


_commands: dict[type[Message], Command] = {}
_classes: dict[tuple[int, int | None, bool], type[Message]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def command(code: int, application_id: int | None, *, proxiable: bool = True) -> Callable[[type[M]], type[M]]:
    """Decorator: the dataclass of one command, found again by code, application and direction."""

    def register(cls: type[M]) -> type[M]:
        made = avp_group(cls)
        _commands[made] = Command(code, application_id, proxiable, made.__name__)
        _classes[code, application_id, issubclass(made, Request)] = made
        return made

    return register


def command_of(message: Message) -> Command:
    """Code, application and name of a message."""
    if isinstance(message, UnknownCommand | ErrorAnswer):
        return Command(message.command_code, message.application_id, message.is_proxiable, type(message).__name__)
    return _commands[type(message)]


def command_name(header: Header) -> str:
    """The message's name for logs, metrics and ladders: ``UpdateLocationRequest``, or ``316-Request`` for a command nobody declared."""
    cls = _class_of(header)
    return cls.__name__ if cls else f"{header.command_code}-{'Request' if header.is_request else 'Answer'}"


def is_known_application(application_id: int) -> bool:
    """Whether any command of that application is declared."""
    return any(key[1] == application_id for key in _classes)


def _class_of(header: Header) -> type[Message] | None:
    request = bool(header.flags & REQUEST_BIT)
    return _classes.get((header.command_code, header.application_id, request)) or _classes.get((header.command_code, None, request))


@avp_group
class UnknownCommand(Message):
    """A command that no dataclass stands for: its AVPs are all in ``unknown``."""

    command_code: int = field(metadata=HEADER)
    application_id: int = field(metadata=HEADER)
    is_request: bool = field(metadata=HEADER)
    is_proxiable: bool = field(default=True, metadata=HEADER)


@avp_group
class ErrorAnswer(Answer):
    """The answer any request may get when it cannot be served as its command describes (``answer-message``, RFC 6733 clause 7.2).

    The E bit is set when the Result-Code is a protocol error (3xxx).
    """

    command_code: int = field(metadata=HEADER)
    application_id: int = field(metadata=HEADER)
    is_proxiable: bool = field(default=True, metadata=HEADER)
    session_id: str | None = None
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    experimental_result: ExperimentalResult | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A message and the header it came with."""

    header: Header
    message: Message


def encode(message: Message, *, hop_by_hop: int, end_to_end: int, application_id: int | None = None, retransmitted: bool = False) -> bytes:
    """The octets of ``message``.

    ``application_id`` is needed only for an answer that does not name its application itself: it is the request's.
    ``retransmitted`` sets the T bit of a request that may have been delivered before.
    """
    if isinstance(message, UnknownCommand):
        flags = (PROXIABLE_BIT if message.is_proxiable else 0) | (REQUEST_BIT if message.is_request else 0)
        code, application = message.command_code, message.application_id
        body = b"".join([avp.encode() for avp in message.unknown])
    else:
        body = encode_avps(message)
        if isinstance(message, ErrorAnswer):
            flags = (PROXIABLE_BIT if message.is_proxiable else 0) | (ERROR_BIT if 3000 <= (message.result_code or 0) <= 3999 else 0)
            code, application = message.command_code, message.application_id
        else:
            code, declared, is_proxiable, _ = _commands[type(message)]
            flags = (PROXIABLE_BIT if is_proxiable else 0) | (REQUEST_BIT if isinstance(message, Request) else 0)
            if declared is not None:
                application = declared
            else:
                application = getattr(message, "auth_application_id", 0) if application_id is None else application_id
    if retransmitted:
        flags |= RETRANSMITTED_BIT
    size = len(body) + HEADER_OCTETS
    try:
        if size > 0xFFFFFF or not 0 <= code <= 0xFFFFFF:
            raise OverflowError
        return _HEADER.pack(1 << 24 | size, flags << 24 | code, application, hop_by_hop, end_to_end) + body
    except (struct.error, OverflowError):
        raise WireError("header field out of range", ie="Diameter header") from None


def decode_header(octets: bytes) -> Header:
    """The header of a complete message; version and length are checked."""
    if len(octets) < HEADER_OCTETS:
        raise DiameterError("truncated header", ResultCode.DIAMETER_INVALID_MESSAGE_LENGTH, ie="Diameter header")
    first, second, application_id, hop_by_hop, end_to_end = _HEADER.unpack_from(octets)
    header = Header(second >> 24, second & 0xFFFFFF, application_id, hop_by_hop, end_to_end)
    if first >> 24 != 1:
        raise _about(DiameterError("version is not 1", ResultCode.DIAMETER_UNSUPPORTED_VERSION, ie="Diameter header"), header)
    if first & 0xFFFFFF != len(octets) or first & 3:
        raise _about(DiameterError("wrong message length", ResultCode.DIAMETER_INVALID_MESSAGE_LENGTH, offset=1, ie="Diameter header"), header)
    return header


def decode(octets: bytes) -> Packet:
    """The message in ``octets``. Raises :class:`DiameterError`, which knows how to answer.

    Requests are held to RFC 6733 clause 7.1.5: an unknown AVP with the M bit, a second copy of a single AVP or a reserved flag
    is an error. In answers these are kept in ``unknown``: there is nobody left to complain to.
    """
    header = decode_header(octets)
    try:
        if header.flags & REQUEST_BIT and header.flags & ERROR_BIT:
            raise DiameterError("a request with the E bit", ResultCode.DIAMETER_INVALID_HDR_BITS, offset=4, ie="Diameter header")
        return Packet(header=header, message=_decode_message(header, octets))
    except DiameterError as error:
        error.session_id = _session_id(octets)
        raise _about(error, header) from None


def _decode_message(header: Header, octets: bytes) -> Message:
    size = len(octets)
    if header.flags & ERROR_BIT:
        return _decode_error_answer(header, octets)
    cls = _class_of(header)
    if cls is None:
        return UnknownCommand(command_code=header.command_code, application_id=header.application_id, is_request=header.is_request,
                              is_proxiable=header.is_proxiable, unknown=decode_raw_avps(octets, HEADER_OCTETS, size))
    if header.flags & REQUEST_BIT:
        request: Message = decode_avps(table_of(cls), octets, HEADER_OCTETS, size, True)
        return request
    try:
        answer: Message = decode_avps(table_of(cls), octets, HEADER_OCTETS, size, False)
    except DiameterError as error:
        if error.result_code != ResultCode.DIAMETER_MISSING_AVP:
            raise
        # a refusal often leaves out what the command's own answer must have
        refusal = _decode_error_answer(header, octets)
        if refusal.result is None or refusal.is_success:
            raise
        return refusal
    return answer


def _decode_error_answer(header: Header, octets: bytes) -> ErrorAnswer:
    answer: ErrorAnswer = decode_avps(table_of(ErrorAnswer), octets, HEADER_OCTETS, len(octets), False, command_code=header.command_code,
                                      application_id=header.application_id, is_proxiable=header.is_proxiable)
    return answer


def _about(error: DiameterError, header: Header) -> DiameterError:
    error.header = header
    return error


def _session_id(octets: bytes) -> str | None:
    """The Session-Id of a message that could not be decoded: it comes first (RFC 6733 clause 8.8)."""
    if len(octets) < HEADER_OCTETS + 8:
        return None
    code, word = struct.unpack_from("!II", octets, HEADER_OCTETS)
    if code != SESSION_ID or word >> 31:
        return None
    return octets[HEADER_OCTETS + 8:HEADER_OCTETS + (word & 0xFFFFFF)].decode(errors="replace") or None


def with_proxy_info(answer: M, proxy_info: tuple[ProxyInfo, ...]) -> M:
    """``answer`` with the agents' state of its request. For answers that have a place for it: all but the base protocol's."""
    fields: dict[str, Any] = {"proxy_info": proxy_info}
    return replace(answer, **fields)


def error_answer(header: Header, result_code: ResultCode, *, origin_host: str, origin_realm: str, session_id: str | None = None,
                 error_message: str | None = None, failed_avp: Avp | None = None, proxy_info: tuple[ProxyInfo, ...] = ()) -> ErrorAnswer:
    """The answer to a request that is not served (RFC 6733 clause 7.2)."""
    return ErrorAnswer(
        command_code=header.command_code, application_id=header.application_id, is_proxiable=header.is_proxiable, session_id=session_id,
        origin_host=origin_host, origin_realm=origin_realm, result_code=result_code, error_message=error_message,
        failed_avp=FailedAvp(avps=(failed_avp,)) if failed_avp else None, proxy_info=proxy_info)
