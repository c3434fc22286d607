"""What every S1AP message has."""

from __future__ import annotations

from typing import ClassVar, Literal

from epc.wire.aper.values import Criticality

Kind = Literal["initiating", "successful", "unsuccessful"]


class Message:
    """The base of all messages; the class variables are those of the elementary procedure (TS 36.413 clause 9.3.2)."""

    __slots__ = ()

    procedure_code: ClassVar[int]
    criticality: ClassVar[Criticality]
    kind: ClassVar[Kind]
