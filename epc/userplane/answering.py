"""One place that answers requests that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from epc.dataplane.pfcp_rules import RuleFailure
from epc.dataplane.rules import RuleError
from epc.peer.pfcp import RequestReceived
from epc.procedure import Reject
from epc.wire.pfcp import (
    REPLY_TO,
    CauseValue,
    FailedRuleId,
    SessionEstablishmentResponse,
    SessionModificationResponse,
    rejection,
)

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@asynccontextmanager
async def answering(node: UserPlaneNode[Any], received: RequestReceived, cp_seid: int) -> AsyncIterator[None]:
    """A request that cannot be served is answered with its cause; a success answers for itself."""
    try:
        yield
    except Exception as error:
        cause, failed = _cause_of(error)
        message = rejection(REPLY_TO[received.message.message_type], cause, node_id=node.sx.machine.local.node_id)
        if failed is not None and isinstance(message, SessionEstablishmentResponse | SessionModificationResponse):
            message = replace(message, failed_rule_id=failed)
        node.sx.respond(received, message, cp_seid)
        if isinstance(error, RuleError):
            raise Reject(cause, str(error)) from error
        raise


def _cause_of(error: Exception) -> tuple[CauseValue, FailedRuleId | None]:
    if isinstance(error, RuleFailure):
        return error.cause, error.failed_rule_id
    if isinstance(error, RuleError):
        return CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, None
    if isinstance(error, Reject) and isinstance(error.cause, CauseValue):
        return error.cause, None
    return CauseValue.SYSTEM_FAILURE, None
