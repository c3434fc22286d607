"""The ladder: from tapped packets to lines that a person reads."""

from __future__ import annotations

from ipaddress import IPv4Address

import orjson
import pytest

from epc.lab.ladder import LadderObserver, Lifelines, NodePlace, render_text
from epc.lab.ladder.fields import spaced, tree_of
from epc.lab.ladder.page import render_page
from epc.lab.ladder.steps import AttachFilter, step_of
from epc.transport.interface import Address, Carrier, Direction, TappedPacket
from epc.wire import diameter, gtpv2
from epc.wire.diameter import base, s6a

KINDS = {"mme1": "mme", "sgw1": "sgw", "pgw1": "pgw", "enb1": "enb"}
IMSI = "001010000000001"
MME, SGW = Address("127.0.0.10", 2123), Address("127.0.0.20", 2123)


def packet(payload: bytes, *, time: float = 0.0, node: str = "mme1", source: Address = MME, destination: Address = SGW,
           direction: Direction = Direction.SENT, interface: str = "S11", carrier: Carrier = Carrier.UDP) -> TappedPacket:
    return TappedPacket(time=time, node=node, direction=direction, carrier=carrier, interface=interface, source=source, destination=destination,
                        payload=payload)


def modify_bearer_request(teid: int = 6) -> bytes:
    bearer = gtpv2.BearerContextToBeModified(
        ebi=5, s1u_enb_fteid=gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S1_U_ENODEB_GTP_U, teid=8, ipv4=IPv4Address("127.0.0.40")))
    return gtpv2.encode(gtpv2.ModifyBearerRequest(bearer_contexts_to_be_modified=(bearer,)), teid=teid, sequence=1)


@pytest.mark.parametrize(("name", "expected"), [
    ("CreateSessionRequest", "Create Session Request"), ("S1SetupRequest", "S1 Setup Request"), ("InitialUEMessage", "Initial UE Message"),
    ("DownlinkNASTransport", "Downlink NAS Transport"), ("EsmInformationRequest", "ESM Information Request"),
    ("DetachRequestFromUe", "Detach Request (from UE)"),
])
def test_names_are_written_as_the_specification_does(name: str, expected: str) -> None:
    assert spaced(name) == expected


def test_a_message_becomes_a_line_with_its_tunnel() -> None:
    observer = LadderObserver(KINDS)
    observer.packet(packet(modify_bearer_request()))
    (event,) = observer.events
    assert (event.name, event.source, event.destination, event.rung) == ("Modify Bearer Request", "mme1", "sgw1", ("mme", "sgw"))
    assert [(each.name, each.teid, each.address) for each in event.tunnels] == [("s1u_enb_teid", 8, "127.0.0.40")]
    assert "t8=0x00000008" in event.detail
    assert observer.tunnels["s1u_enb_teid", 8, "127.0.0.40"] == "Modify Bearer Request (S11)"
    assert "Modify Bearer Request" in render_text(observer.events, "title")


def test_operators_stand_side_by_side_and_a_line_crosses_the_border() -> None:
    places = {"mme1": NodePlace("mme", "visited"), "enb1": NodePlace("enb", "visited"), "hss1": NodePlace("hss", "home"),
              "sgw1": NodePlace("sgw", "home", ("127.0.0.20",)), "sgw2": NodePlace("sgw", "visited")}
    observer = LadderObserver(Lifelines(places, {"visited": "There", "home": "Here"}))
    observer.packet(packet(modify_bearer_request()))
    (event,) = observer.events
    assert (event.rung, event.destination) == (("visited/mme", "home/sgw"), "sgw1")
    lines = render_text(observer.events, "title", observer.lifelines).splitlines()
    assert lines[2].index("There") < lines[2].index("Here")
    assert lines[3].split() == ["step", "time", "UE", "eNodeB", "MME", "SGW", "HSS", "SGW"]
    assert lines[4].count("┼") == 2, "it passes the visited SGW and the HSS"
    assert lines[4].index("▶") > lines[2].index("╭", lines[2].index("╮"))


def test_a_diameter_message_is_of_its_reference_point_whoever_passes_it_on() -> None:
    places = {"mme1": NodePlace("mme"), "dra1": NodePlace("dra", "", ("127.0.0.31",)), "hss1": NodePlace("hss", "", ("127.0.0.11",)),
              "pcrf1": NodePlace("pcrf"), "pgw1": NodePlace("pgw", "", ("127.0.0.13",)), "af1": NodePlace("af", "", ("127.0.0.14",))}
    observer = LadderObserver(Lifelines(places))
    pgw, function = Address("127.0.0.13", 40000), Address("127.0.0.14", 40000)
    agent, hss = Address("127.0.0.31", 3868), Address("127.0.0.11", 3868)

    def diameter_packet(message: diameter.Message, node: str, label: str, source: Address, destination: Address) -> None:
        octets = diameter.encode(message, hop_by_hop=1, end_to_end=1)
        observer.packet(packet(octets, node=node, source=source, destination=destination, interface=label, carrier=Carrier.TCP))

    purge = s6a.PurgeUeRequest(
        session_id="mme1;1;1", auth_session_state=1, origin_host="mme1", origin_realm="visited", destination_realm="home", user_name=IMSI)
    watchdog = base.DeviceWatchdogRequest(origin_host="pcrf1", origin_realm="home")
    diameter_packet(purge, "mme1", "S6a", MME, agent)
    diameter_packet(purge, "dra1", "Diameter", agent, hss)
    diameter_packet(watchdog, "pcrf1", "Gx", SGW, agent)
    diameter_packet(watchdog, "pcrf1", "Gx", SGW, pgw)
    diameter_packet(watchdog, "pcrf1", "Gx", SGW, function)
    assert [event.interface for event in observer.events] == ["S6a", "S6a", "Diameter", "Gx", "Rx"]


def test_a_retransmission_is_marked_and_reception_is_no_line_of_its_own() -> None:
    observer = LadderObserver(KINDS)
    observer.packet(packet(modify_bearer_request()))
    observer.packet(packet(modify_bearer_request(), node="sgw1", direction=Direction.RECEIVED))
    observer.packet(packet(modify_bearer_request(), time=3.0))
    assert [event.repeated for event in observer.events] == [False, True]
    assert observer.events[1].time_s == 3.0


def test_garbage_is_counted_and_does_no_harm() -> None:
    observer = LadderObserver(KINDS)
    for octets in (b"", b"\x48", b"\xff" * 40, modify_bearer_request()[:9]):
        observer.packet(packet(octets))
    assert (observer.events, observer.undecoded) == ([], 4)


def test_user_packets_of_one_flow_are_folded() -> None:
    observer = LadderObserver(KINDS)
    ip = bytes.fromhex("4500001c000100004001000000000000") + bytes(4) + b"\x08\x00\x00\x00\x00\x01\x00\x01"
    for number in range(3):
        gtpu = b"\x30\xff" + len(ip).to_bytes(2) + (7).to_bytes(4) + ip
        observer.packet(packet(gtpu, time=number, node="enb1", source=Address("127.0.0.40", 2152), destination=Address("127.0.0.20", 2152),
                               interface="S1-U"))
    (event,) = observer.events
    assert event.count == 3
    assert event.name.startswith("ICMP echo request")


def test_steps_are_numbered_within_an_attach_only() -> None:
    numbers = AttachFilter()
    assert numbers.number(("CreateSessionRequest",), "S5/S8") == 0
    assert numbers.number(("InitialUEMessage", "AttachRequest", "PdnConnectivityRequest"), "S1-MME") == 1
    assert numbers.number(("CreateSessionRequest",), "S5/S8") == 7
    assert numbers.number(("CreateSessionRequest",), "S11") == 6
    assert numbers.number(("ModifyBearerResponse",), "S11") == 10
    assert numbers.number(("ModifyBearerRequest",), "S11") == 0
    assert step_of(("DownlinkNASTransport", "EsmInformationRequest"), "S1-MME") == 4


def test_the_page_holds_the_events_and_no_markup_can_break_out() -> None:
    observer = LadderObserver(KINDS)
    observer.packet(packet(modify_bearer_request()))
    observer.events[0].detail = "</script><script>alert(1)</script>"
    page = render_page("a <title>", "passed", [], observer.events)
    assert "<title>a &lt;title&gt;</title>" in page
    data = page.split('<script id="data" type="application/json">')[1].split("</script>")[0]
    loaded = orjson.loads(data)
    assert loaded["events"][0]["name"] == "Modify Bearer Request"
    assert loaded["events"][0]["detail"] == "</script><script>alert(1)</script>"


def test_absent_fields_are_left_out_of_the_tree() -> None:
    tree = tree_of(gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S1_U_ENODEB_GTP_U, teid=0x12345678, ipv4=IPv4Address("10.0.0.1")))
    assert isinstance(tree, list)
    assert [name for name, _ in tree] == ["interface_type", "teid", "ipv4"]
    assert dict(tree)["teid"] == "305419896 (0x12345678)"
