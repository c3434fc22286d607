"""Octets to NAS messages and back: protocol discriminator, security header and message type decide (TS 24.301 clauses 9.1 to 9.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from epc.wire.errors import WireError
from epc.wire.nas import emm, esm
from epc.wire.nas.causes import EmmCause, EsmCause
from epc.wire.nas.emm import DetachRequestFromUe, DetachRequestToUe, EmmMessage
from epc.wire.nas.enumerations import SecurityHeaderType
from epc.wire.nas.errors import NasSyntaxError
from epc.wire.nas.esm import EsmMessage
from epc.wire.nas.security import NAS_KEY_SET_IDENTIFIER, NasKeySetIdentifier
from epc.wire.nas.table import TABLES, MessageTable

_ESM, _EMM = 2, 7           # protocol discriminators: TS 24.007 clause 11.2.3.1.1
_EMM_CAUSE_IE = 0x53


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityProtected:
    """A security protected NAS message: TS 24.301 clause 8.2.23. ``payload`` is ciphered as the header type says; ciphers live elsewhere."""

    security_header_type: SecurityHeaderType
    message_authentication_code: bytes
    sequence_number: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """The four-octet SERVICE REQUEST: TS 24.301 clause 8.2.25, with the low 5 bits of the sequence number and the last 2 octets of the MAC."""

    nas_key_set_identifier: NasKeySetIdentifier
    sequence_number: int
    short_message_authentication_code: bytes


NasPdu: TypeAlias = EmmMessage | EsmMessage | SecurityProtected | ServiceRequest

_EMM_TABLES: dict[int, MessageTable] = {}
_ESM_TABLES: dict[int, MessageTable] = {}
_HEADERS: dict[type[EmmMessage], bytes] = {}
for _message, _table in TABLES.items():
    if issubclass(_message, EmmMessage):
        _EMM_TABLES[_message.message_type] = _table
        _HEADERS[_message] = bytes((_EMM, _message.message_type))
    else:
        _ESM_TABLES[_message.message_type] = _table
_DETACH_FROM_UE, _DETACH_TO_UE = TABLES[DetachRequestFromUe], TABLES[DetachRequestToUe]
_PROTECTING = {int(member): member for member in SecurityHeaderType if 1 <= member <= 5}


def encode(message: NasPdu) -> bytes:
    """The octets of ``message``; raises :class:`WireError` for a value that its format cannot hold."""
    if isinstance(message, EmmMessage):
        return TABLES[type(message)].encode(message, _HEADERS[type(message)])
    if isinstance(message, EsmMessage):
        ebi, pti = message.eps_bearer_identity, message.procedure_transaction_identity
        if not (0 <= ebi <= 15 and 0 <= pti <= 255):
            raise WireError(f"EPS bearer identity {ebi} or PTI {pti} is out of range", ie="header")
        return TABLES[type(message)].encode(message, bytes((ebi << 4 | _ESM, pti, message.message_type)))
    if isinstance(message, SecurityProtected):
        header_type, mac, sequence_number = message.security_header_type, message.message_authentication_code, message.sequence_number
        if len(mac) != 4 or not 0 <= sequence_number <= 255 or header_type not in _PROTECTING:
            raise WireError("a MAC of 4 octets, a sequence number of 8 bits and a protecting header type are needed", ie="header")
        return b"".join((bytes((header_type << 4 | _EMM,)), mac, bytes((sequence_number,)), message.payload))
    if len(message.short_message_authentication_code) != 2 or not 0 <= message.sequence_number <= 31 or message.nas_key_set_identifier.mapped:
        raise WireError("a short MAC of 2 octets, a sequence number of 5 bits and a native key set are needed", ie="header")
    octet = message.nas_key_set_identifier.value << 5 | message.sequence_number
    return bytes((SecurityHeaderType.SERVICE_REQUEST << 4 | _EMM, octet)) + message.short_message_authentication_code


def decode(octets: bytes, *, uplink: bool | None = None) -> NasPdu:
    """The message in ``octets``; raises :class:`NasSyntaxError` and nothing else.

    Only DETACH REQUEST looks different by direction; without ``uplink`` its shape decides.
    """
    if len(octets) < 2:
        raise NasSyntaxError("too short for a message type", cause=None)
    first = octets[0]
    discriminator = first & 15
    if discriminator == _ESM:
        return _decode_esm(octets)
    if discriminator != _EMM:
        raise NasSyntaxError(f"protocol discriminator {discriminator} is neither EMM nor ESM", cause=None)
    security_header_type = first >> 4
    if security_header_type:
        return _decode_protected(octets, security_header_type)
    message_type = octets[1]
    table = _EMM_TABLES.get(message_type)
    if table is None:
        cause = EmmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED
        raise NasSyntaxError(f"EMM message type {message_type:#x} does not exist", cause=cause, message_type=message_type, offset=1)
    if message_type == DetachRequestToUe.message_type:
        table = _DETACH_FROM_UE if (_looks_uplink(octets) if uplink is None else uplink) else _DETACH_TO_UE
    try:
        message = table.decode(octets, 2, {})
    except WireError as error:
        raise NasSyntaxError(
            error.reason, cause=EmmCause.INVALID_MANDATORY_INFORMATION, message_type=message_type, offset=error.offset, ie=error.ie
        ) from None
    assert isinstance(message, EmmMessage)
    return message


def _looks_uplink(octets: bytes) -> bool:
    """A UE's request goes on with a length and an identity, the network's ends or goes on with an EMM cause."""
    return len(octets) > 3 and not (len(octets) == 5 and octets[3] == _EMM_CAUSE_IE)


def _decode_esm(octets: bytes) -> EsmMessage:
    ebi, pti = octets[0] >> 4, octets[1]
    if len(octets) < 3:
        raise NasSyntaxError("too short for a message type", cause=None, procedure_transaction_identity=pti, eps_bearer_identity=ebi)
    message_type = octets[2]
    table = _ESM_TABLES.get(message_type)
    if table is None:
        raise NasSyntaxError(
            f"ESM message type {message_type:#x} does not exist",
            cause=EsmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED,
            message_type=message_type,
            procedure_transaction_identity=pti,
            eps_bearer_identity=ebi,
            offset=2,
        )
    values: dict[str, Any] = {"eps_bearer_identity": ebi, "procedure_transaction_identity": pti}
    try:
        message = table.decode(octets, 3, values)
    except WireError as error:
        raise NasSyntaxError(
            error.reason,
            cause=EsmCause.INVALID_MANDATORY_INFORMATION,
            message_type=message_type,
            procedure_transaction_identity=pti,
            eps_bearer_identity=ebi,
            offset=error.offset,
            ie=error.ie,
        ) from None
    assert isinstance(message, EsmMessage)
    return message


def _decode_protected(octets: bytes, security_header_type: int) -> SecurityProtected | ServiceRequest:
    if security_header_type >= SecurityHeaderType.SERVICE_REQUEST:       # 13 to 15 are read as 12: TS 24.301 table 9.3.1
        if len(octets) < 4:
            raise NasSyntaxError("too short for a SERVICE REQUEST", cause=None)
        return ServiceRequest(
            nas_key_set_identifier=NAS_KEY_SET_IDENTIFIER.values[octets[1] >> 5],
            sequence_number=octets[1] & 31,
            short_message_authentication_code=octets[2:4],
        )
    header_type = _PROTECTING.get(security_header_type)
    if header_type is None:
        raise NasSyntaxError(f"security header type {security_header_type} is reserved", cause=None)
    if len(octets) < 7:
        raise NasSyntaxError("too short for a protected message", cause=None)
    return SecurityProtected(
        security_header_type=header_type, message_authentication_code=octets[1:5], sequence_number=octets[5], payload=octets[6:]
    )


EMM_MESSAGES = tuple([message for message in TABLES if issubclass(message, emm.EmmMessage)])
ESM_MESSAGES = tuple([message for message in TABLES if issubclass(message, esm.EsmMessage)])
