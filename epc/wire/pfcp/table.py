"""How a message or grouped element describes itself: one annotation a field, from which the codec's tables are made.

::

    @message(MessageType.SESSION_DELETION_RESPONSE)
    class SessionDeletionResponse(Message):
        cause: Annotated[CauseValue | int, M(elements.CAUSE)]
        usage_reports: Annotated[tuple[UsageReportAtDeletion, ...], C(UsageReportAtDeletion)] = ()

reads like the specification's table: name, presence, element type. A field of type ``tuple[...]`` may repeat. An element's type tells its
role: unlike GTPv2-C, PFCP has no instances (TS 29.244 clause 8.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from inspect import get_annotations
from operator import attrgetter
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform, get_args, get_origin

from epc.wire.pfcp.enums import MessageType


class Presence(Enum):
    """TS 29.244 clause 7.1."""

    MANDATORY = "M"
    CONDITIONAL = "C"
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
    """An element that the message does not define, repeats beyond what it allows, or that was unreadable and not needed.

    A vendor's own (``type`` from 32768) has the Enterprise ID in its first two octets.
    """

    type: int
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
    """A PFCP message without its header."""

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
    presence: Presence


def M(element: Ie | type[GroupedIe]) -> Entry:
    """Mandatory."""
    return Entry(element, Presence.MANDATORY)


def C(element: Ie | type[GroupedIe]) -> Entry:
    """Conditional: there when its condition holds."""
    return Entry(element, Presence.CONDITIONAL)


def O(element: Ie | type[GroupedIe]) -> Entry:  # noqa: E743
    """Optional."""
    return Entry(element, Presence.OPTIONAL)


class Slot(NamedTuple):
    """One row of a message's table, in the form the codec's loops want."""

    name: str
    ie_type: int
    encode: Callable[[Any], bytes] | None
    decode: Callable[[bytes], Any] | None
    group: Table | None
    minimum: int
    repeated: bool
    required: bool          # mandatory or conditional: malformed ones reject the message
    ie_name: str


class Table:
    """The rows of one message or grouped element."""

    __slots__ = ("by_type", "make", "mandatory", "slots", "values")

    def __init__(self, cls: type[Group], slots: tuple[Slot, ...], mandatory: tuple[Slot, ...]) -> None:
        self.make = cls
        self.slots = slots
        self.by_type = {slot.ie_type: slot for slot in slots}
        self.mandatory = mandatory
        names = [slot.name for slot in slots]
        getter = attrgetter(*names, "unknown")
        self.values: Callable[[Group], tuple[Any, ...]] = getter if names else lambda group: (group.unknown,)


def _table_of(cls: type[Group], annotations: dict[str, Any]) -> Table:
    slots: list[Slot] = []
    mandatory: list[Slot] = []
    for name, hint in annotations.items():
        if get_origin(hint) is not Annotated:
            continue
        value_type, entry = get_args(hint)
        element, presence = entry
        required = presence is not Presence.OPTIONAL
        repeated = get_origin(value_type) is tuple
        if isinstance(element, Ie):
            slot = Slot(name, element.type, element.encode, element.decode, None, element.minimum, repeated, required, element.name)
        else:
            slot = Slot(name, element.ie_type, None, None, element.table, 0, repeated, required, element.ie_name)
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
        annotations = {key: hint for base in reversed(cls.__mro__) if issubclass(base, GroupedIe) for key, hint in get_annotations(base).items()}
        made.table = _table_of(made, annotations)
        return made

    return wrap
