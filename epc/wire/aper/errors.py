"""Errors of the abstract syntax, as every protocol of the S1AP family defines them (TS 36.413 clause 10.3 and its like)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from epc.wire.aper.values import Criticality
from epc.wire.errors import WireError


class Problem(NamedTuple):
    """One line of the Criticality Diagnostics."""

    criticality: Criticality
    id: int
    type_of_error: Literal["not-understood", "missing"]


class AbstractSyntaxError(WireError):
    """Elements that are unknown with criticality reject, mandatory elements that are missing, or elements twice or in wrong order."""

    def __init__(self, problems: list[Problem], *, falsely_constructed: bool = False, offset: int = 0) -> None:
        texts = [f"element {problem.id} {problem.type_of_error}" for problem in problems]
        if falsely_constructed:
            texts.append("elements repeated or in wrong order")
        super().__init__(", ".join(texts), offset=offset)
        self.problems = problems
        self.falsely_constructed = falsely_constructed
