"""PFD Management: the applications that rules may name, for all sessions alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epc.dataplane.pfcp_rules import application_of
from epc.peer.pfcp import RequestReceived
from epc.procedure import Reject, procedure
from epc.wire.pfcp import CauseValue, PfdManagementRequest, PfdManagementResponse, elements

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@procedure(spec="TS 29.244 clauses 6.2.5, 7.4.3", starts_on=PfdManagementRequest)
async def pfd_management(node: UserPlaneNode[Any], received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, PfdManagementRequest)
    if not node.sx.machine.association_with(received.peer[0]):
        node.sx.respond(received, PfdManagementResponse(cause=CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION), None)
        raise Reject(CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION, "no association with who provisions applications")
    try:
        given = [application_of(pfds) for pfds in request.application_ids_pfds]
    except ValueError as error:
        node.sx.respond(
            received, PfdManagementResponse(cause=CauseValue.MANDATORY_IE_INCORRECT, offending_ie=elements.PFD_CONTENTS.type), None)
        raise Reject(CauseValue.MANDATORY_IE_INCORRECT, str(error)) from error
    if not request.application_ids_pfds:
        node.applications.clear()
    for application in given:
        if application.domain_names or application.flows:
            node.applications[application.id] = application
        else:
            node.applications.pop(application.id, None)
    node.forwarder.provision(node.applications.values())
    node.sx.respond(received, PfdManagementResponse(cause=CauseValue.REQUEST_ACCEPTED), None)
