"""The MME's commands: handed on to the PGW, which answers with a request of its own or with a failure indication."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.node.gtpc import cause_for
from epc.peer.gtpc import RequestReceived
from epc.peer.timer import TimerExpired
from epc.procedure import Reject, procedure
from epc.sgw.context import PdnConnection, UeContext
from epc.wire.errors import WireError
from epc.wire.gtpv2 import (
    FAILURE_OF_COMMAND,
    BearerResourceCommand,
    BearerResourceFailureIndication,
    Cause,
    CauseValue,
    DeleteBearerCommand,
    DeleteBearerFailureIndication,
    FailedBearerContext,
    Fteid,
    InterfaceType,
    Message,
    ModifyBearerCommand,
    ModifyBearerFailureIndication,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw

_Command = BearerResourceCommand | DeleteBearerCommand | ModifyBearerCommand


@procedure(spec="TS 23.401 clause 5.4.5, TS 29.274 clause 7.2.5", starts_on=BearerResourceCommand)
async def relay_bearer_resource_command(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    await _relay(sgw, ue, received)


@procedure(spec="TS 23.401 clause 5.4.4.2, TS 29.274 clause 7.2.17", starts_on=DeleteBearerCommand)
async def relay_delete_bearer_command(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    await _relay(sgw, ue, received)


@procedure(spec="TS 23.401 clause 5.4.2.2, TS 29.274 clause 7.2.14", starts_on=ModifyBearerCommand)
async def relay_modify_bearer_command(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    await _relay(sgw, ue, received)


async def _relay(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    """The request that the command triggers comes in like any other and finds the command in ``connection.command``."""
    command = received.message
    assert isinstance(command, _Command)
    connection: PdnConnection | None = None
    try:
        connection = _connection(ue, command)
        connection.command = received
        sender = Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, connection.s5c_sgw_teid, sgw.config.s5c.host)
        onward: Message = replace(command, sender_fteid=sender, unknown=())
        packet = await sgw.s5.request(connection.pgw, connection.s5c_pgw_teid, onward, sgw.t3_s5)
    except (Reject, TimerExpired, WireError) as error:
        sgw.s11.respond(received, _failure(command, cause_for(error)), ue.s11_mme_teid)
        raise
    finally:
        if connection is not None:
            connection.command = None
    if packet.message.message_type in FAILURE_OF_COMMAND.values():
        sgw.s11.respond(received, replace(packet.message, unknown=()), ue.s11_mme_teid)


def _connection(ue: UeContext, command: _Command) -> PdnConnection:
    """The PDN connection whose bearer the command is about."""
    if isinstance(command, BearerResourceCommand):
        connection = ue.connections.get(command.linked_ebi)
    else:
        contexts = (command.bearer_context,) if isinstance(command, ModifyBearerCommand) else command.bearer_contexts
        found = ue.bearer(contexts[0].ebi)
        connection = None if found is None else found[0]
    if connection is None:
        raise Reject(CauseValue.CONTEXT_NOT_FOUND, "no such bearer")
    return connection


def _failure(command: _Command, cause: Cause) -> Message:
    if isinstance(command, BearerResourceCommand):
        return BearerResourceFailureIndication(cause=cause, linked_ebi=command.linked_ebi, pti=command.pti)
    if isinstance(command, DeleteBearerCommand):
        failed = tuple(FailedBearerContext(ebi=context.ebi, cause=cause) for context in command.bearer_contexts)
        return DeleteBearerFailureIndication(cause=cause, bearer_contexts=failed)
    return ModifyBearerFailureIndication(cause=cause)
