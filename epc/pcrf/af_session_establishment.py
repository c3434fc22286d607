"""AF session establishment and modification: TS 29.214 clauses 4.4.1 and 4.4.2, TS 29.213 clauses 4.3.1 and 5."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from epc.pcrf.af_session import AfSession
from epc.pcrf.config import ApplicationFunction
from epc.pcrf.ip_can_session_establishment import imsi_of
from epc.pcrf.service_information import NotAuthorised, rules_of
from epc.pcrf.session import GxSession
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, ResultCode
from epc.wire.diameter.gx import IpCanType
from epc.wire.diameter.policy import FlowStatus
from epc.wire.diameter.rx import (
    AAAnswer,
    AARequest,
    AccessNetworkChargingIdentifier,
    MediaComponentDescription,
    MediaSubComponent,
    RxRequestType,
    ServiceInfoStatus,
)

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


async def af_session_establishment(pcrf: Pcrf, request: AARequest) -> AAAnswer:
    # 1 a new session or one that is known; the IP-CAN session it is about
    for lost in pcrf.af_sessions.note_state(request.origin_host, request.origin_state_id):
        pcrf.log.info("session.lost", reason="the application function restarted", session_id=lost.session_id, imsi=lost.gx.imsi)
        pcrf.bring_up_to_date([lost.gx])
    session = pcrf.af_sessions.get(request.session_id)
    if session is None and request.rx_request_type == RxRequestType.UPDATE_REQUEST:
        raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
    gx = _bound(pcrf, request) if session is None else session.gx

    # 2 what it asks for, and whether it may
    before = {} if session is None else session.components
    components = _merged(before, request.media_component_description)
    application = _text(request.af_application_identifier) or next(
        (_text(each.af_application_identifier) for each in components.values() if each.af_application_identifier), "") \
        or ("" if session is None else session.application)
    function = _function(pcrf, request.origin_host, application)
    charging_identifier = request.af_charging_identifier or (None if session is None else session.af_charging_identifier)
    if session is None:
        _check_duplicate(pcrf, gx, request, components)
    number = pcrf.af_sessions.new_number() if session is None else session.number
    sponsored = request.sponsored_connectivity_data
    if sponsored is not None and function.sponsors and sponsored.sponsor_identity not in function.sponsors:
        raise Reject(ExperimentalResultCode.UNAUTHORIZED_SPONSORED_DATA_CONNECTIVITY, f"sponsor {sponsored.sponsor_identity}")
    rules = rules_of(
        pcrf.config.rx, function, components.values(), name_prefix=f"af-{number}", af_charging_identifier=charging_identifier,
        sponsor=sponsored.sponsor_identity if sponsored else None,
        service_provider=sponsored.application_service_provider_identity if sponsored else None)

    # 3 the session as it is now
    if session is None:
        session = AfSession(session_id=request.session_id, number=number, af_host=request.origin_host, af_realm=request.origin_realm,
                            origin_state_id=request.origin_state_id, gx=gx)
        pcrf.af_sessions.add(session)
    session.application, session.af_charging_identifier, session.components = application, charging_identifier, components
    if request.specific_action:
        session.actions = request.specific_action
    if request.service_info_status != ServiceInfoStatus.PRELIMINARY_SERVICE_INFORMATION:
        changed = {key for key, rule in rules.items() if session.rules.get(key) != rule}
        session.lost -= changed
        gx.withheld_rules -= {rules[key].charging_rule_name for key in changed}        # what failed is tried again when it is asked for anew
        session.rules = rules
        session.allocated &= rules.keys()
    pcrf.af_sessions.bind(gx)

    # 4 the answer; the PCEF learns of it next (TS 29.213 clause 4.3.1, steps 8 and 10)
    pcrf.bring_up_to_date([gx])
    return AAAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, ip_can_type=IpCanType.TGPP_EPS, rat_type=gx.rat_type,
        access_network_charging_address=gx.charging_address,
        access_network_charging_identifier=tuple([AccessNetworkChargingIdentifier(access_network_charging_identifier_value=each)
                                                  for each in gx.charging_identifiers]))


def _bound(pcrf: Pcrf, request: AARequest) -> GxSession:
    """Session binding (TS 29.213 clause 5.2): the user's address, and where several have it, APN and IMSI."""
    if request.framed_ip_address is None and request.framed_ipv6_prefix is None:
        raise Reject(ExperimentalResultCode.INVALID_SERVICE_INFORMATION, "Framed-IP-Address or Framed-IPv6-Prefix is needed")
    found = pcrf.sessions.of_address(request.framed_ip_address, request.framed_ipv6_prefix)
    if request.called_station_id is not None:
        found = [gx for gx in found if gx.apn.lower() == request.called_station_id.lower()]
    imsi = imsi_of(request.subscription_id)
    if imsi is not None:
        found = [gx for gx in found if gx.imsi == imsi]
    if len(found) != 1:
        address = request.framed_ip_address or request.framed_ipv6_prefix
        raise Reject(ExperimentalResultCode.IP_CAN_SESSION_NOT_AVAILABLE, f"{len(found) or 'no'} IP-CAN sessions of {address}")
    return found[0]


def _merged(before: dict[int, MediaComponentDescription], described: tuple[MediaComponentDescription, ...]) -> dict[int, MediaComponentDescription]:
    """Components not mentioned stay; one that comes again replaces its flows, and one with Flow-Status REMOVED goes (clause 4.4.2)."""
    numbers = [component.media_component_number for component in described]
    if len(set(numbers)) != len(numbers):
        raise Reject(ExperimentalResultCode.INVALID_SERVICE_INFORMATION, "a Media-Component-Number comes twice")
    components = dict(before)
    for component in described:
        if component.flow_status == FlowStatus.REMOVED:
            components.pop(component.media_component_number, None)
            continue
        old = components.get(component.media_component_number)
        components[component.media_component_number] = component if old is None else _changed(old, component)
    return components


def _changed(old: MediaComponentDescription, new: MediaComponentDescription) -> MediaComponentDescription:
    """What ``new`` does not say stays as it was."""
    subs = {sub.flow_number: sub for sub in old.media_sub_component}
    for sub in new.media_sub_component:
        known = subs.get(sub.flow_number)
        if sub.flow_status == FlowStatus.REMOVED:
            subs.pop(sub.flow_number, None)
        else:
            subs[sub.flow_number] = sub if known is None or sub.flow_description else replace(known, **_given(sub))
    return replace(old, **(_given(new) | {"media_sub_component": tuple(subs.values())}))


def _given(described: MediaComponentDescription | MediaSubComponent) -> dict[str, Any]:
    """The AVPs that are there."""
    return {field.name: value for field in fields(described) if (value := getattr(described, field.name)) not in (None, ())}


def _function(pcrf: Pcrf, host: str, application: str) -> ApplicationFunction:
    functions = pcrf.config.rx.functions
    if not functions:
        return ApplicationFunction()
    for function in functions:
        if _fits(function.host, host) and _fits(function.application, application):
            if function.allowed:
                return function
            break
    raise NotAuthorised(f"{host} may not ask for {application or 'anything'}")


def _fits(pattern: str, text: str) -> bool:
    return text.lower().startswith(pattern[:-1].lower()) if pattern.endswith("*") else text.lower() == pattern.lower()


def _check_duplicate(pcrf: Pcrf, gx: GxSession, request: AARequest, components: dict[int, MediaComponentDescription]) -> None:
    """Another Rx session for the same service (clause 4.4.1)."""
    filters = _filters(components)
    for other in pcrf.af_sessions.of_gx(gx):
        same_charging = request.af_charging_identifier is not None and request.af_charging_identifier == other.af_charging_identifier
        if same_charging or (filters and filters == _filters(other.components)):
            raise Reject(ExperimentalResultCode.DUPLICATED_AF_SESSION, f"{other.session_id} is about the same flows")


def _filters(components: dict[int, MediaComponentDescription]) -> set[str]:
    return {text for component in components.values() for sub in component.media_sub_component for text in sub.flow_description}


def _text(octets: bytes | None) -> str:
    return octets.decode(errors="replace") if octets else ""
