"""How a message or grouped element describes itself: one annotation a field, from which the codec's tables are made.

::

    @message(MessageType.DELETE_SESSION_RESPONSE)
    class DeleteSessionResponse(Message):
        cause: Annotated[Cause, M(elements.CAUSE)]
        recovery: Annotated[int | None, C(elements.RECOVERY)] = None

reads like the specification's table: name, presence, element type, instance. A field of type ``tuple[...]`` may repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from inspect import get_annotations
from operator import attrgetter
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform, get_args, get_origin

from epc.wire.gtpv2.enums import MessageType


class Presence(Enum):
    """TS 29.274 clause 6.1.1."""

    MANDATORY = "M"
    CONDITIONAL = "C"
    CONDITIONAL_OPTIONAL = "CO"
    OPTIONAL = "O"


@dataclass(frozen=True, slots=True)
class Ie:
    """An element type: its number and how its value is written and read. ``minimum`` octets are there when ``decode`` is called."""

    type: int
    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    minimum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownIe:
    """An element that the message does not define, repeats beyond what it allows, or that was unreadable and not needed."""

    type: int
    instance: int
    octets: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Group:
    """Elements in a row: the body of a message, or of a grouped element."""

    unknown: tuple[UnknownIe, ...] = ()
    """Kept as received and written back last."""

    table: ClassVar[Table]

    def __repr__(self) -> str:
        present = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in present if value is not None and value != ())})"


class Message(Group):
    """A GTPv2-C message without its header."""

    __slots__ = ()
    message_type: ClassVar[MessageType]


class GroupedIe(Group):
    """An element that holds elements."""

    __slots__ = ()
    ie_type: ClassVar[int]
    ie_name: ClassVar[str]


class Entry(NamedTuple):
    """The annotation of one field."""

    element: Ie | type[GroupedIe]
    instance: int
    presence: Presence


def M(element: Ie | type[GroupedIe], instance: int = 0) -> Entry:
    """Mandatory."""
    return Entry(element, instance, Presence.MANDATORY)


def C(element: Ie | type[GroupedIe], instance: int = 0) -> Entry:
    """Conditional: the receiver can tell whether it must be there."""
    return Entry(element, instance, Presence.CONDITIONAL)


def CO(element: Ie | type[GroupedIe], instance: int = 0) -> Entry:
    """Conditional-optional: the sender shall include it under a condition that the receiver need not check."""
    return Entry(element, instance, Presence.CONDITIONAL_OPTIONAL)


def O(element: Ie | type[GroupedIe], instance: int = 0) -> Entry:  # noqa: E743
    """Optional."""
    return Entry(element, instance, Presence.OPTIONAL)


class Slot(NamedTuple):
    """One row of a message's table, in the form the codec's loops want."""

    name: str
    ie_type: int
    instance: int
    encode: Callable[[Any], bytes] | None
    decode: Callable[[bytes], Any] | None
    group: Table | None
    minimum: int
    repeated: bool
    required: bool          # mandatory or conditional: malformed ones reject the message
    ie_name: str


class Table:
    """The rows of one message or grouped element."""

    __slots__ = ("by_key", "has_cause", "is_bearer_context", "make", "mandatory", "slots", "values")

    def __init__(self, cls: type[Group], slots: tuple[Slot, ...], mandatory: tuple[Slot, ...]) -> None:
        self.make = cls
        self.slots = slots
        self.by_key = {slot.ie_type << 4 | slot.instance: slot for slot in slots}
        self.mandatory = mandatory
        names = [slot.name for slot in slots]
        getter = attrgetter(*names, "unknown")
        self.values: Callable[[Group], tuple[Any, ...]] = getter if names else lambda group: (group.unknown,)
        self.has_cause = "cause" in names
        self.is_bearer_context = issubclass(cls, GroupedIe) and cls.ie_type == 93


def _table_of(cls: type[Group], annotations: dict[str, Any]) -> Table:
    slots: list[Slot] = []
    mandatory: list[Slot] = []
    for name, hint in annotations.items():
        if get_origin(hint) is not Annotated:
            continue
        value_type, entry = get_args(hint)
        element, instance, presence = entry
        required = presence in (Presence.MANDATORY, Presence.CONDITIONAL)
        repeated = get_origin(value_type) is tuple
        if isinstance(element, Ie):
            slot = Slot(name, element.type, instance, element.encode, element.decode, None, element.minimum, repeated, required, element.name)
        else:
            slot = Slot(name, element.ie_type, instance, None, None, element.table, 0, repeated, required, element.ie_name)
        slots.append(slot)
        if presence is Presence.MANDATORY:
            mandatory.append(slot)
    return Table(cls, tuple(slots), tuple(mandatory))


MESSAGES: dict[int, type[Message]] = {}
"""The message class of every message type that this codec reads."""

_M = TypeVar("_M", bound=Message)
_G = TypeVar("_G", bound=GroupedIe)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def message(message_type: MessageType) -> Callable[[type[_M]], type[_M]]:
    """Make a frozen dataclass of the class and enter it in :data:`MESSAGES`."""

    def wrap(cls: type[_M]) -> type[_M]:
        made = dataclass(frozen=True, slots=True, kw_only=True, repr=False)(cls)
        made.message_type = message_type
        made.table = _table_of(made, get_annotations(cls))
        MESSAGES[message_type] = made
        return made

    return wrap


@dataclass_transform(frozen_default=True, kw_only_default=True)
def grouped(ie_type: int, name: str) -> Callable[[type[_G]], type[_G]]:
    """Make a frozen dataclass of the class; ``ie_type`` is the grouped element's number."""

    def wrap(cls: type[_G]) -> type[_G]:
        made = dataclass(frozen=True, slots=True, kw_only=True, repr=False)(cls)
        made.ie_type = ie_type
        made.ie_name = name
        made.table = _table_of(made, get_annotations(cls))
        return made

    return wrap
