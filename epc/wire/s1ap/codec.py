"""Octets to messages and back, and what is wrong with octets that are no message (TS 36.413 clause 10)."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from epc.wire.aper.build import Builder, choose_runtime
from epc.wire.aper.errors import AbstractSyntaxError
from epc.wire.errors import WireError
from epc.wire.s1ap.catalogue import look_up
from epc.wire.s1ap.errors import S1apSyntaxError
from epc.wire.s1ap.message import Message
from epc.wire.s1ap.naming import class_name
from epc.wire.s1ap.tables import MESSAGES, TYPES

_ALTERNATIVES = ("initiating", "successful", "unsuccessful")
_TRIGGERING = ("initiating-message", "successful-outcome", "unsuccessfull-outcome")     # the ASN.1 spells it so
_CAUSES = {
    "reject": "abstract-syntax-error-reject",
    "notify": "abstract-syntax-error-ignore-and-notify",
    "ignore": "abstract-syntax-error-ignore-and-notify",
}


class S1apCodec:
    """The codec on one of the two runtimes."""

    def __init__(self, runtime: ModuleType) -> None:
        self._runtime = runtime
        self._builder = Builder(TYPES, lambda name: cast(type, look_up(class_name(name))), runtime)
        self._split_pdu = runtime.split_pdu
        self._fields_by_name: dict[str, Any] = {}
        self._name_by_head = {
            (_ALTERNATIVES.index(kind), procedure_code): name for name, (procedure_code, _, kind, _) in MESSAGES.items()}
        self._decoders: dict[tuple[int, int], tuple[Any, type[Message]]] = {}

    def _fields(self, name: str) -> Any:
        found = self._fields_by_name.get(name)
        if found is None:
            procedure_code, criticality, kind, rows = MESSAGES[name]
            fields = None if rows is None else self._builder.fields(0, rows)
            found = self._runtime.MessageFields(_ALTERNATIVES.index(kind), procedure_code, criticality, fields)
            self._fields_by_name[name] = found
        return found

    def encode(self, message: Message) -> bytes:
        """Raises :class:`WireError` for values that the format cannot hold."""
        if not isinstance(message, Message):
            raise WireError(f"not an S1AP message: {message!r}")
        octets: bytes = self._fields(type(message).__name__).encode(message)
        return octets

    def decode(self, octets: bytes) -> Message:
        """Raises :class:`S1apSyntaxError`, which says how to answer."""
        try:
            alternative, procedure_code, criticality, content = self._split_pdu(octets)
        except WireError as error:
            raise self._transfer_syntax_error(error) from None
        decoder = self._decoders.get((alternative, procedure_code))
        if decoder is None:
            decoder = self._find_decoder(alternative, procedure_code, criticality)
        fields, make = decoder
        values: dict[str, Any] = {}
        try:
            fields.decode(content, values)
        except AbstractSyntaxError as error:
            raise self._abstract_syntax_error(error, alternative, procedure_code, make.criticality, values) from None
        except WireError as error:
            error.offset += len(octets) - len(content)
            raise self._transfer_syntax_error(error, values) from None
        return make(**values)

    def _find_decoder(self, alternative: int, procedure_code: int, criticality: Any) -> tuple[Any, type[Message]]:
        name = self._name_by_head.get((alternative, procedure_code))
        if name is None:
            # TS 36.413 clause 10.3.4.1
            raise S1apSyntaxError(
                f"unknown procedure {procedure_code}", cause=look_up("Cause")("protocol", _CAUSES[criticality]), answered=criticality != "ignore",
                procedure_code=procedure_code, triggering_message=_triggering(alternative), procedure_criticality=criticality)
        decoder = (self._fields(name), look_up(name))
        self._decoders[alternative, procedure_code] = decoder
        return decoder

    @staticmethod
    def _transfer_syntax_error(error: WireError, values: dict[str, Any] | None = None) -> S1apSyntaxError:
        """TS 36.413 clause 10.2: an Error Indication without diagnostics."""
        values = values or {}
        return S1apSyntaxError(
            error.reason, offset=error.offset, ie=error.ie, cause=look_up("Cause")("protocol", "transfer-syntax-error"),
            mme_ue_s1ap_id=values.get("mme_ue_s1ap_id"), enb_ue_s1ap_id=values.get("enb_ue_s1ap_id"))

    @staticmethod
    def _abstract_syntax_error(
        error: AbstractSyntaxError, alternative: int, procedure_code: int, criticality: Any, values: dict[str, Any],
    ) -> S1apSyntaxError:
        """TS 36.413 clauses 10.3.4.2, 10.3.5 and 10.3.6."""
        worst = min((problem.criticality for problem in error.problems), key=("reject", "notify", "ignore").index, default="reject")
        cause = "abstract-syntax-error-falsely-constructed-message" if error.falsely_constructed else _CAUSES[worst]
        item = look_up("CriticalityDiagnosticsIEItem")
        ies = tuple(item(ie_criticality=criticality_, ie_id=identity, type_of_error=what) for criticality_, identity, what in error.problems[:256])
        return S1apSyntaxError(
            error.reason, offset=error.offset, cause=look_up("Cause")("protocol", cause), answered=error.falsely_constructed or worst != "ignore",
            procedure_code=procedure_code, triggering_message=_triggering(alternative), procedure_criticality=criticality,
            ies=ies, mme_ue_s1ap_id=values.get("mme_ue_s1ap_id"), enb_ue_s1ap_id=values.get("enb_ue_s1ap_id"))

    def encode_type(self, name: str, value: object) -> bytes:
        """A type on its own, by its ASN.1 name: what a transparent container holds."""
        octets: bytes = self._builder.node(name).encode(value)
        return octets

    def decode_type(self, name: str, octets: bytes) -> object:
        """The value in ``octets``; raises :class:`WireError`."""
        return self._builder.node(name).decode(octets)


def _triggering(alternative: int) -> Any:
    return _TRIGGERING[alternative] if alternative < 3 else None


_codec = S1apCodec(choose_runtime())
encode = _codec.encode
decode = _codec.decode
encode_type = _codec.encode_type
decode_type = _codec.decode_type
