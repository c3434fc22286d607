"""Create Session: an address, the PCRF's decision and a tunnel for a PDN connection (step 7 of the Attach)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid, Interface
from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw import gx
from epc.pgw.address_pool import AddressPool, AddressTaken, PoolEmpty
from epc.pgw.application_detection import ApplicationDetection
from epc.pgw.bearer_binding import bind_to_standing_bearers, signal
from epc.pgw.context import Bearer, PdnSession, PolicySession, Whereabouts, remainder_of
from epc.pgw.online_charging import open_credit_session
from epc.pgw.policy import Policy
from epc.pgw.policy_decision import take_decision, watch_the_clock
from epc.pgw.policy_events import change_reporting
from epc.pgw.protocol_configuration import answer_options
from epc.pgw.usage_monitoring import UsageMonitoring, take_usage_decision
from epc.procedure import Procedure, Reject, Slot, procedure, step
from epc.transport.gtpc import GTPC_PORT
from epc.transport.interface import Address
from epc.wire.diameter.groups import TerminationCause
from epc.wire.diameter.policy import ChargingRuleReport
from epc.wire.gtpv2 import (
    BearerContextCreated,
    BearerContextToBeCreated,
    Cause,
    CauseValue,
    CreateSessionRequest,
    CreateSessionResponse,
    Fteid,
    InterfaceType,
    Paa,
    PdnType,
    conditional_ie_missing,
)

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_BY_MESSAGE: dict[type, Procedure] = {}         # no message starts what runs in a session's slot
_ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
_ONLY_IPV4 = Cause(value=CauseValue.NEW_PDN_TYPE_DUE_TO_NETWORK_PREFERENCE)


@procedure(spec="TS 23.401 clause 5.3.2.1 steps 13 to 15, TS 29.274 clause 7.2.1", starts_on=CreateSessionRequest)
async def create_session(pgw: Pgw, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, CreateSessionRequest)
    async with answering(pgw.s5, received, lambda: request.sender_fteid.teid), AsyncExitStack() as undo:
        #  7 may this UE have it
        found = pgw.config.apn(request.apn)
        if found is None:
            raise Reject(CauseValue.MISSING_OR_UNKNOWN_APN, f"no APN {request.apn!r}")
        apn, settings = found
        wanted = request.bearer_contexts_to_be_created[0]
        imsi, s5u_sgw, cause = _checked(request, wanted)
        former = pgw.sessions.get((imsi, wanted.ebi))
        if former is not None:                                      # TS 29.274 clause 7.2.1: the new PDN connection takes its place
            pgw.remove(former, TerminationCause.DIAMETER_LOGOUT)

        #  7 an address
        step(7, "address")
        pool = pgw.pools[apn]
        ue_address = _allocate(pool, request)
        undo.callback(pool.release, ue_address)

        #  7 the PCRF's decision
        step(7, "policy")
        policy = Policy(qos=wanted.bearer_qos, ambr=request.ambr)
        bearer = Bearer(
            ebi=wanted.ebi, number=0, qos=policy.qos, charging_id=pgw.next_charging_id(), s5u_sgw=s5u_sgw,
            s5u_pgw=pgw.forwarder.allocate_f_teid(Interface.ACCESS),
        )
        session = PdnSession(
            imsi=imsi, msisdn=request.msisdn, mei=request.mei, ebi=wanted.ebi, apn=apn, pool=pool, ue_address=ue_address,
            policy=policy, wanted_policy=policy,
            sgw=Address(request.sender_fteid.host, GTPC_PORT), s5c_sgw_teid=request.sender_fteid.teid,
            whereabouts=Whereabouts().updated(request), selection_mode=request.selection_mode,
            charging_characteristics=request.charging_characteristics, slot=Slot(pgw.runner, _BY_MESSAGE), bearers={wanted.ebi: bearer},
            remainder=remainder_of(bearer), usage_monitoring=UsageMonitoring(),
        )
        session.meters += session.usage_monitoring, ApplicationDetection(session)
        failed: tuple[ChargingRuleReport, ...] = ()
        decision = None
        if pgw.gx is not None:
            session.gx = PolicySession(session_id=pgw.gx.new_session_id())
            undo.callback(pgw.end_policy, session, TerminationCause.DIAMETER_SERVICE_NOT_PROVIDED)
            decision = await gx.open_ip_can_session(pgw, session.gx, request, apn, ue_address, policy)
            if decision is not None:
                failed = take_decision(pgw, session, decision)
                session.policy = session.wanted_policy
                bearer.qos = session.policy.qos
                bind_to_standing_bearers(session)

        #  7 the OCS's credit
        if pgw.gy is not None:
            step(7, "credit")
            pgw.gy.begin(session, None if decision is None else decision.online)
            undo.callback(pgw.gy.end, session, TerminationCause.DIAMETER_SERVICE_NOT_PROVIDED)
            await open_credit_session(pgw.gy, session)

        #  7 tunnels
        step(7, "tunnels")
        if pgw.charging is not None:
            pgw.charging.prepare(session, request)
        pgw.install(session)
        undo.pop_all()
        undo.callback(pgw.remove, session, TerminationCause.DIAMETER_SERVICE_NOT_PROVIDED)
        await pgw.confirmed(session)
        undo.pop_all()
        if pgw.charging is not None:
            pgw.charging.connected(session)
        pgw.s5.respond(
            received,
            CreateSessionResponse(
                cause=cause, pgw_fteid=Fteid.at(InterfaceType.S5_S8_PGW_GTP_C, session.s5c_pgw_teid, pgw.config.s5c.host),
                paa=Paa(pdn_type=PdnType.IPV4, ipv4=ue_address), apn_restriction=0, ambr=session.policy.ambr,
                pco=answer_options(request.pco, settings), epco=answer_options(request.epco, settings),
                bearer_contexts_created=(
                    BearerContextCreated(
                        ebi=wanted.ebi, cause=_ACCEPTED, charging_id=bearer.charging_id,
                        s5u_pgw_fteid=Fteid.at(InterfaceType.S5_S8_PGW_GTP_U, bearer.s5u_pgw.teid, bearer.s5u_pgw.address),
                        bearer_qos=None if session.policy.qos == wanted.bearer_qos else session.policy.qos,
                    ),
                ),
                recovery=pgw.s5.restart_counter, change_reporting_action=change_reporting(session),
            ),
            session.s5c_sgw_teid,
        )
        pgw.report(session, rules=failed)
        signal(pgw, session)                                        # dedicated bearers, if the rules want some
        if decision is not None:
            watch_the_clock(pgw, session)
            take_usage_decision(pgw, session, decision.usage_monitoring_information)


def _checked(request: CreateSessionRequest, wanted: BearerContextToBeCreated) -> tuple[str, FTeid, Cause]:
    """IMSI, the SGW's user tunnel, and the cause to accept with; only IPv4 is served."""
    if request.imsi is None:
        raise GtpReject(conditional_ie_missing(CreateSessionRequest, "imsi"))
    if wanted.s5u_sgw_fteid is None:
        raise GtpReject(conditional_ie_missing(BearerContextToBeCreated, "s5u_sgw_fteid"))
    pdn_type = request.pdn_type if request.pdn_type is not None else request.paa.pdn_type if request.paa is not None else PdnType.IPV4
    if pdn_type not in (PdnType.IPV4, PdnType.IPV4V6):
        raise Reject(CauseValue.PREFERRED_PDN_TYPE_NOT_SUPPORTED, f"PDN type {pdn_type!r}")
    s5u_sgw = FTeid(teid=wanted.s5u_sgw_fteid.teid, address=wanted.s5u_sgw_fteid.host)
    return request.imsi, s5u_sgw, _ACCEPTED if pdn_type == PdnType.IPV4 else _ONLY_IPV4


def _allocate(pool: AddressPool, request: CreateSessionRequest) -> IPv4Address:
    """The subscription's address if it has one, else the next of the pool."""
    static = request.paa.ipv4 if request.paa is not None else None
    try:
        if static is not None and int(static):
            pool.take(static)
            return static
        return pool.allocate()
    except PoolEmpty:
        raise Reject(CauseValue.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED, f"the pool of {request.apn} is empty") from None
    except AddressTaken:
        raise Reject(CauseValue.REQUEST_REJECTED, f"the static address {static} is in use or not in the pool of {request.apn}") from None
