"""What a received NAS message may be wrong in, with the cause that answers it (TS 24.301 clause 7)."""

from __future__ import annotations

from epc.wire.errors import WireError
from epc.wire.nas.causes import EmmCause, EsmCause


class NasSyntaxError(WireError):
    """A NAS message that breaks the rules of TS 24.301 clause 7.

    ``cause`` is what to answer with: an :class:`EmmCause` in EMM STATUS, an :class:`EsmCause` in ESM STATUS or in the reject message of
    the procedure. It is ``None`` where the clause says that the message is ignored (too short, unknown protocol discriminator).
    ``message_type``, ``procedure_transaction_identity`` and ``eps_bearer_identity`` are known as far as the message was readable.
    """

    def __init__(
        self,
        reason: str,
        *,
        cause: EmmCause | EsmCause | None,
        message_type: int | None = None,
        procedure_transaction_identity: int | None = None,
        eps_bearer_identity: int | None = None,
        offset: int = 0,
        ie: str = "",
    ) -> None:
        super().__init__(reason, offset=offset, ie=ie)
        self.cause = cause
        self.message_type = message_type
        self.procedure_transaction_identity = procedure_transaction_identity
        self.eps_bearer_identity = eps_bearer_identity
