"""What a decoder may raise: :class:`WireError`, and nothing else."""

from __future__ import annotations


class WireError(ValueError):
    """The octets are not what the specification says they must be.

    ``offset`` counts octets from the start of the message given to the decoder; ``ie`` names the element that was being
    read, by its 3GPP name. Protocols that answer syntax errors with a cause derive their own class and carry the cause.
    """

    def __init__(self, reason: str, *, offset: int = 0, ie: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.ie = ie

    def __str__(self) -> str:
        where = f" in {self.ie}" if self.ie else ""
        return f"{self.reason}{where} at octet {self.offset}"
