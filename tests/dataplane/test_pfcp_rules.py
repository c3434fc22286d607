"""Rules on their way through PFCP: what a control function says is what the user-plane function understands."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epc.dataplane.pfcp_rules import (
    PfcpRules,
    application_of,
    application_pfds,
    change_between,
    changed,
    establishment,
    flow_description,
    modification,
    network_instance,
)
from epc.dataplane.rules import (
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Gate,
    Interface,
    Pdr,
    Qer,
    RuleError,
    SdfFilter,
    Session,
    SessionChange,
    UeIpAddress,
    Urr,
)
from epc.wire.pfcp import PfdManagementRequest, SessionEstablishmentRequest, SessionModificationRequest, decode, encode

T = TypeVar("T", Pdr, Far, Qer, Urr)

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ports = st.tuples(u16, u16).map(lambda pair: (min(pair), max(pair)))
tunnels = st.builds(FTeid, teid=st.integers(1, 0xFFFFFFFF), address=st.sampled_from(["10.0.0.4", "10.0.0.5", "2001:db8::5"]))
networks = st.sampled_from([IPv4Network("10.1.0.0/16"), IPv4Network("192.0.2.7/32"), IPv6Network("2001:db8::/32")])
filters = st.builds(
    SdfFilter, remote=st.none() | networks, protocol=st.none() | st.integers(0, 255), remote_ports=st.none() | ports, local_ports=st.none() | ports)
ues = st.builds(
    UeIpAddress, ipv4=st.builds(IPv4Address, u32), ipv6_prefix=st.sampled_from([None, IPv6Network("2001:db8:1::/64")])
) | st.just(UeIpAddress(ipv6_prefix=IPv6Network("2001:db8:2::/64")))
kilobits = st.none() | st.integers(0, 10**9).map(lambda kbps: 1000 * kbps)
links = st.sampled_from(["internet", "ims.mnc001"])
seconds = st.none() | st.integers(1, 0xFFFFFFFE)
urls = st.none() | st.sampled_from(["http://portal.example/", "https://topup.example/?a=b"])
copy = st.builds(Duplicate, destination_interface=st.sampled_from(Interface), outer_header_creation=tunnels)
copies = st.lists(copy, min_size=1, max_size=2).map(tuple)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Any session that a forwarder could have, as far as PFCP can say it."""
    fars = tuple(
        draw(
            st.builds(Far, id=st.just(far_id), apply_action=st.just(ApplyAction.FORWARD), destination_interface=st.sampled_from(Interface),
                      outer_header_creation=tunnels)
            | st.builds(Far, id=st.just(far_id), apply_action=st.just(ApplyAction.FORWARD), destination_interface=st.sampled_from(Interface),
                        network_instance=links, redirect_url=urls)
            | st.builds(Far, id=st.just(far_id), apply_action=st.just(ApplyAction.FORWARD | ApplyAction.DUPLICATE),
                        destination_interface=st.sampled_from(Interface), network_instance=links, duplicates=copies)
            | st.builds(Far, id=st.just(far_id), apply_action=st.sampled_from(
                [ApplyAction.DROP, ApplyAction.BUFFER, ApplyAction.BUFFER | ApplyAction.NOTIFY_CP]), destination_interface=st.just(Interface.CORE)))
        for far_id in range(draw(st.integers(1, 3)))
    )
    qers = tuple(
        draw(st.builds(Qer, id=st.just(qer_id), correlation_id=st.none() | u32, uplink_gate=st.sampled_from(Gate),
                       downlink_gate=st.sampled_from(Gate), uplink_mbr_bps=kilobits, downlink_mbr_bps=kilobits))
        for qer_id in range(draw(st.integers(0, 2)))
    )
    urrs = tuple(
        draw(st.builds(
            Urr, id=st.just(urr_id), volume_quota_octets=st.none() | u32, volume_threshold_octets=st.none() | u32, time_quota_s=seconds,
            time_threshold_s=seconds, inactivity_s=seconds, quota_holding_time_s=seconds, period_s=seconds, application_events=st.booleans(),
        )) for urr_id in range(1, 1 + draw(st.integers(0, 2))))
    pdrs = tuple(
        draw(
            st.builds(
                Pdr, id=st.just(pdr_id), precedence=u32, source_interface=st.sampled_from(Interface), local_f_teid=tunnels,
                ue_ip_address=st.none() | ues, sdf_filters=st.lists(filters, max_size=2).map(tuple),
                application_id=st.sampled_from([None, "video", "spiele-\u00e4"]), far_id=st.sampled_from([far.id for far in fars]),
                qer_ids=st.sampled_from([(), tuple(qer.id for qer in qers)]), urr_ids=st.sampled_from([(), tuple(urr.id for urr in urrs)]))
            | st.builds(
                Pdr, id=st.just(pdr_id), precedence=u32, source_interface=st.just(Interface.CORE), network_instance=links, ue_ip_address=ues,
                far_id=st.sampled_from([far.id for far in fars])))
        for pdr_id in range(1, 1 + draw(st.integers(1, 3)))
    )
    return Session(id=7, pdrs=pdrs, fars=fars, qers=qers, urrs=urrs)


def never(interface: Interface) -> FTeid:
    raise AssertionError("no F-TEID is to be chosen")


def over_the_wire(session: Session) -> PfcpRules:
    octets = encode(establishment(session, node_id="cp", host="10.0.0.2"), seid=0, sequence=1)
    request = decode(octets).message
    assert isinstance(request, SessionEstablishmentRequest)
    rules = PfcpRules()
    assert rules.establish(request, never) == ()
    return rules


def in_order(session: Session) -> Session:
    def by_id(rules: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(sorted(rules, key=lambda rule: rule.id))

    return Session(id=session.id, pdrs=by_id(session.pdrs), fars=tuple(map(at_work, by_id(session.fars))), qers=by_id(session.qers),
                   urrs=by_id(session.urrs))


def at_work(far: Far) -> Far:
    """Where a FAR would send is of no account while it does not."""
    return far if ApplyAction.FORWARD in far.apply_action else Far(id=far.id, apply_action=far.apply_action)


@settings(max_examples=100, deadline=None)
@given(sessions())
def test_session_arrives_as_it_was_sent(session: Session) -> None:
    assert in_order(over_the_wire(session).session(7)) == in_order(session)


@settings(max_examples=100, deadline=None)
@given(sessions(), sessions())
def test_any_change_arrives_as_it_was_sent(former: Session, wanted: Session) -> None:
    change = SessionChange(
        pdrs=wanted.pdrs, fars=wanted.fars, qers=wanted.qers, urrs=wanted.urrs,
        remove_pdrs=tuple({pdr.id for pdr in former.pdrs} - {pdr.id for pdr in wanted.pdrs}),
        remove_fars=tuple({far.id for far in former.fars} - {far.id for far in wanted.fars}),
        remove_qers=tuple({qer.id for qer in former.qers} - {qer.id for qer in wanted.qers}),
        remove_urrs=tuple({urr.id for urr in former.urrs} - {urr.id for urr in wanted.urrs}),
    )
    assert in_order(changed(former, change)) == in_order(wanted)
    message = modification(former, change)
    rules = over_the_wire(former)
    installed = rules.session(7)
    if message is None:
        assert in_order(installed) == in_order(wanted)
        return
    request = decode(encode(message, seid=1, sequence=1)).message
    assert isinstance(request, SessionModificationRequest)
    after = rules.copy()
    after.modify(request, never)
    known = in_order(after.session(7))
    assert known.pdrs == in_order(wanted).pdrs
    assert known.fars == in_order(wanted).fars
    assert [(qer.id, qer.uplink_gate, qer.downlink_gate, qer.uplink_mbr_bps, qer.downlink_mbr_bps) for qer in known.qers] == [
        (qer.id, qer.uplink_gate, qer.downlink_gate, qer.uplink_mbr_bps, qer.downlink_mbr_bps) for qer in in_order(wanted).qers]
    assert known.urrs == in_order(wanted).urrs
    assert in_order(changed(installed, change_between(installed, known, request))) == known


@given(filters)
def test_flow_description_reads_as_the_filter_it_was_made_of(sdf: SdfFilter) -> None:
    assert SdfFilter.from_flow_description(flow_description(sdf)) == sdf


def test_a_rate_is_never_less_than_what_was_asked_for() -> None:
    session = Session(
        id=7, pdrs=(Pdr(id=1, source_interface=Interface.CORE, network_instance="x", ue_ip_address=UeIpAddress(ipv4=IPv4Address(1)), far_id=1),),
        fars=(Far(id=1, apply_action=ApplyAction.DROP),), qers=(Qer(id=1, uplink_mbr_bps=1, downlink_mbr_bps=1500),))
    (qer,) = over_the_wire(session).session(7).qers
    assert (qer.uplink_mbr_bps, qer.downlink_mbr_bps) == (1000, 2000)


def test_a_far_that_buffers_is_told_again() -> None:
    far = Far(id=1, apply_action=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP)
    pdr = Pdr(id=1, source_interface=Interface.CORE, local_f_teid=FTeid(teid=1, address="10.0.0.4"), far_id=1)
    session = Session(id=7, pdrs=(pdr,), fars=(far,))
    message = modification(session, SessionChange(fars=(far,)))
    assert message is not None
    assert [update.far_id for update in message.update_fars] == [1]
    rules = over_the_wire(session)
    before = rules.session(7)
    rules.modify(message, never)
    assert change_between(before, rules.session(7), message).fars == (far,)


def test_what_has_not_changed_is_not_told() -> None:
    far = Far(id=1, apply_action=ApplyAction.DROP)
    pdr = Pdr(id=1, source_interface=Interface.CORE, local_f_teid=FTeid(teid=1, address="10.0.0.4"), far_id=1, precedence=1 << 32)
    session = Session(id=7, pdrs=(pdr,), fars=(far,))
    assert modification(session, SessionChange(pdrs=(pdr,), fars=(far,))) is None
    message = modification(session, SessionChange(pdrs=(replace(pdr, precedence=5),)))
    assert message is not None
    (update,) = message.update_pdrs
    assert (update.precedence, update.pdi, update.far_id) == (5, None, None)


def test_urr_that_limits_something_is_granted_anew_whenever_it_is_told() -> None:
    pdr = Pdr(id=1, source_interface=Interface.CORE, local_f_teid=FTeid(teid=1, address="10.0.0.4"), far_id=1, urr_ids=(1, 2))
    urrs = (Urr(id=1, time_quota_s=60), Urr(id=2))
    session = Session(id=7, pdrs=(pdr,), fars=(Far(id=1, apply_action=ApplyAction.DROP),), urrs=urrs)
    message = modification(session, SessionChange(urrs=urrs))
    assert message is not None
    assert [update.urr_id for update in message.update_urrs] == [1]
    rules = over_the_wire(session)
    before = rules.session(7)
    rules.modify(message, never)
    assert change_between(before, rules.session(7), message).urrs == urrs[:1]


def test_part_of_a_second_is_one() -> None:
    pdr = Pdr(id=1, source_interface=Interface.CORE, local_f_teid=FTeid(teid=1, address="10.0.0.4"), far_id=1)
    session = Session(id=7, pdrs=(pdr,), fars=(Far(id=1, apply_action=ApplyAction.DROP),), urrs=(Urr(id=1, time_threshold_s=0.001, period_s=1.5),))
    assert over_the_wire(session).session(7).urrs == (Urr(id=1, time_threshold_s=1, period_s=2),)


def test_copy_to_a_link_cannot_be_said() -> None:
    far = Far(id=1, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, duplicates=(Duplicate(network_instance="internet"),))
    with pytest.raises(RuleError, match="link"):
        establishment(Session(id=7, pdrs=(), fars=(far,)), node_id="cp", host="10.0.0.2")


@given(st.builds(Application, id=st.text(max_size=9), domain_names=st.lists(st.sampled_from(["a.example", "b.example.org"])).map(tuple),
                 flows=st.lists(filters, max_size=3).map(tuple)))
def test_application_arrives_as_it_was_sent(application: Application) -> None:
    request = PfdManagementRequest(application_ids_pfds=(application_pfds(application),))
    decoded = decode(encode(request, seid=None, sequence=1)).message
    assert isinstance(decoded, PfdManagementRequest)
    assert application_of(decoded.application_ids_pfds[0]) == application


@pytest.mark.parametrize(("octets", "name"), [(b"\x08internet", "internet"), (b"internet", "internet"), (b"\x03ims\x03epc", "ims.epc")])
def test_network_instance_is_labels_or_text(octets: bytes, name: str) -> None:
    assert network_instance(octets) == name


def test_actions_that_contradict_each_other_are_refused() -> None:
    far = Far(id=1, apply_action=ApplyAction.DROP | ApplyAction.FORWARD)
    with pytest.raises(RuleError, match="exactly one"):
        establishment(Session(id=1, pdrs=(), fars=(far,)), node_id="cp", host="10.0.0.2")
    with pytest.raises(RuleError, match="no rule 3"):
        changed(Session(id=1, pdrs=(), fars=()), SessionChange(remove_pdrs=(3,)))
