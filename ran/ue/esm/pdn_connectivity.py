"""PDN connectivity and PDN disconnect, asked for by the UE: TS 24.301 clauses 6.5.1 and 6.5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import TimerExpired, procedure, step
from epc.wire import nas
from epc.wire.nas import ContainerId, EsmCause
from ran.ue import rejection
from ran.ue.esm import default_bearer
from ran.ue.indications import Answer, EsmRefused, answering, give
from ran.ue.state import Result
from ran.ue.timers import T3482, T3492

if TYPE_CHECKING:
    from ran.ue.ue import Ue

REQUESTED_OPTIONS = nas.encode_protocol_configuration_options(nas.request_of_ue(identifiers=(
    ContainerId.DNS_SERVER_IPV4_ADDRESS, ContainerId.IP_ADDRESS_ALLOCATION_VIA_NAS_SIGNALLING, ContainerId.IPV4_LINK_MTU)))


def initial_request(ue: Ue, apn: str | None) -> nas.PdnConnectivityRequest:
    """What an ATTACH REQUEST contains. An APN is not sent before ciphering is on: the UE asks to be asked (clause 6.5.1.2)."""
    return nas.PdnConnectivityRequest(
        procedure_transaction_identity=ue.next_pti(),
        request_type=nas.RequestType.INITIAL_REQUEST,
        pdn_type=ue.pdn_type,
        esm_information_transfer_flag=nas.EsmInformationTransferFlag.REQUIRED if apn is not None else None,
        protocol_configuration_options=REQUESTED_OPTIONS if apn is None else None)


@procedure(spec="TS 24.301 clause 6.5.1")
async def connect_pdn(ue: Ue, answer: Answer | None, apn: str, pdn_type: nas.PdnType) -> None:
    with answering(answer):
        #  1   PDN Connectivity Request
        step(1, "pdn-connectivity-request")
        ue.requested_apn = apn
        request = nas.PdnConnectivityRequest(
            procedure_transaction_identity=ue.next_pti(), request_type=nas.RequestType.INITIAL_REQUEST, pdn_type=pdn_type, access_point_name=apn,
            protocol_configuration_options=REQUESTED_OPTIONS)
        reply = await ue.esm.request(request, nas.ActivateDefaultEpsBearerContextRequest, nas.PdnConnectivityReject, timer=T3482)
        if isinstance(reply, nas.PdnConnectivityReject):
            raise EsmRefused(reply.esm_cause, rejection.name(reply.esm_cause))
        #  9   Activate Default EPS Bearer Context Accept
        step(9, "default-bearer-accept")
        assert isinstance(reply, nas.ActivateDefaultEpsBearerContextRequest)
        ue.send_esm(default_bearer.activate(ue, reply))
        connection = ue.pdn_connections[reply.eps_bearer_identity]
        give(answer, Result(success=True, ip=connection.address.ipv4_address, ebi=connection.ebi, apn=connection.apn))


@procedure(spec="TS 24.301 clause 6.5.2")
async def disconnect_pdn(ue: Ue, answer: Answer | None, ebi: int) -> None:
    with answering(answer):
        #  1   PDN Disconnect Request
        step(1, "pdn-disconnect-request")
        request = nas.PdnDisconnectRequest(procedure_transaction_identity=ue.next_pti(), linked_eps_bearer_identity=ebi)
        try:
            reply = await ue.esm.request(request, nas.DeactivateEpsBearerContextRequest, nas.PdnDisconnectReject, timer=T3492)
        except TimerExpired:
            # clause 6.5.2.5 a: given up locally
            ue.drop_pdn_connection(ebi)
            raise
        if isinstance(reply, nas.PdnDisconnectReject):
            raise EsmRefused(reply.esm_cause, rejection.name(reply.esm_cause))
        give(answer, Result(success=True, ebi=ebi))


def default_bearer_offered(ue: Ue, request: nas.ActivateDefaultEpsBearerContextRequest) -> None:
    """A default bearer outside an attach: the answer to a request of ours, or to nothing (clause 6.4.1.4 and 7.3.1)."""
    if not ue.esm.feed(request):
        ue.send_esm(nas.ActivateDefaultEpsBearerContextReject(
            eps_bearer_identity=request.eps_bearer_identity, esm_cause=EsmCause.PTI_MISMATCH))
