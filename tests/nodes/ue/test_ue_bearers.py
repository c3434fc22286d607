"""Traffic flow templates at the UE: what it takes, what it refuses with which cause, and which bearer a packet goes to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from epc.wire import nas
from epc.wire.nas import EsmCause, PacketFilter, PacketFilterDirection, TftOperation, TrafficFlowTemplate, encode_traffic_flow_template
from ran.ue.esm.traffic_mapping import bearer_for, matches
from ran.ue.state import DedicatedBearer, PdnConnection

pytestmark = pytest.mark.virtual_clock
UDP, TCP, ESP = 17, 6, 50
ACCEPT, REJECT = nas.ActivateDedicatedEpsBearerContextAccept, nas.ActivateDedicatedEpsBearerContextReject


def tft(*filters: PacketFilter, operation: TftOperation = TftOperation.CREATE_NEW_TFT, deleted: tuple[int, ...] = ()) -> bytes:
    return encode_traffic_flow_template(TrafficFlowTemplate(operation=operation, filters=filters, deleted=deleted))


def to_port(port: int, *, identifier: int = 0, precedence: int = 10, **more: object) -> PacketFilter:
    return PacketFilter(identifier=identifier, precedence=precedence, protocol=UDP, remote_ports=(port, port), **more)      # type: ignore[arg-type]


def packet(remote: str = "192.0.2.1", port: int = 7, *, local: str = "10.45.0.2", local_port: int = 4000, protocol: int = UDP, tos: int = 0,
           rest: bytes = b"") -> bytes:
    transport = rest if rest else local_port.to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(4)
    return (bytes((0x45, tos)) + (20 + len(transport)).to_bytes(2, "big") + bytes(5) + bytes((protocol,)) + bytes(2)
            + IPv4Address(local).packed + IPv4Address(remote).packed + transport)


def activate(octets: bytes, ebi: int = 6) -> nas.ActivateDedicatedEpsBearerContextRequest:
    return nas.ActivateDedicatedEpsBearerContextRequest(
        eps_bearer_identity=ebi, linked_eps_bearer_identity=5, eps_qos=nas.EpsQos(qci=7), tft=octets)


@pytest.mark.parametrize(("octets", "cause"), [
    (tft(to_port(7), operation=TftOperation.ADD_PACKET_FILTERS), EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION),
    (b"\x40", EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION),
    (tft(to_port(7, direction=PacketFilterDirection.DOWNLINK_ONLY)), EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION),
    (b"\x20", EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION),
    (b"\x22\x30\x0a\x02\x30\x11", EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION),
    (b"\x21\x30\x0a\x02\x33\x11", EsmCause.SYNTACTICAL_ERRORS_IN_PACKET_FILTERS),
])
async def test_template_that_the_ue_refuses(network, attached, octets, cause) -> None:
    network.set_up_bearers(activate(octets), ebis=(6,))
    assert (await network.receive(REJECT)).esm_cause == cause
    assert attached.active_bearers == (5,)


async def test_filters_are_added_replaced_and_deleted(network, attached) -> None:
    network.set_up_bearers(activate(tft(to_port(1))), ebis=(6,))
    await network.receive(ACCEPT)
    bearer = attached.pdn_connections[5].dedicated[6]

    async def modify(octets: bytes) -> dict[int, int]:
        network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=6, tft=octets))
        await network.receive(nas.ModifyEpsBearerContextAccept)
        return {identifier: each.remote_ports[0] for identifier, each in bearer.filters.items()}

    assert await modify(tft(to_port(2, identifier=1, precedence=11), operation=TftOperation.ADD_PACKET_FILTERS)) == {0: 1, 1: 2}
    assert await modify(tft(to_port(3, identifier=1, precedence=11), operation=TftOperation.REPLACE_PACKET_FILTERS)) == {0: 1, 1: 3}
    assert await modify(tft(operation=TftOperation.DELETE_PACKET_FILTERS, deleted=(0,))) == {1: 3}
    assert await modify(tft(to_port(4, identifier=5))) == {5: 4}
    for octets in (tft(operation=TftOperation.DELETE_PACKET_FILTERS, deleted=(5,)), b"\x40"):
        network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=6, tft=octets))
        assert (await network.receive(nas.ModifyEpsBearerContextReject)).esm_cause == EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION
    assert list(bearer.filters) == [5], "a bearer is never without an uplink filter"
    network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=5, tft=tft(to_port(4))))
    assert (await network.receive(nas.ModifyEpsBearerContextReject)).esm_cause == EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION


async def test_packets_take_the_bearer_of_their_filters(network, attached) -> None:
    network.set_up_bearers(activate(tft(to_port(7))), ebis=(6,))
    await network.receive(ACCEPT)
    for each in (packet(port=7), packet(port=8), packet(protocol=TCP)):
        attached.send_ip_packet(each)
    assert [ebi for ebi, _ in network.packets] == [6, 5, 5]


async def test_new_filter_of_the_same_precedence_takes_the_others_place(network, attached) -> None:
    network.set_up_bearers(activate(tft(to_port(7), to_port(8, identifier=1, precedence=11))), ebis=(6,))
    await network.receive(ACCEPT)
    network.set_up_bearers(activate(tft(to_port(7, precedence=10)), ebi=7), ebis=(7,))
    await network.receive(ACCEPT)
    attached.send_ip_packet(packet(port=7))
    assert [ebi for ebi, _ in network.packets] == [7]
    assert list(attached.pdn_connections[5].dedicated[6].filters) == [1]


def connection(ebi: int = 5, address: str = "10.45.0.2", **dedicated: tuple[PacketFilter, ...]) -> PdnConnection:
    return PdnConnection(
        ebi=ebi, apn="internet", address=nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=IPv4Address(address)), qos=nas.EpsQos(qci=9),
        dedicated={int(name[1:]): DedicatedBearer(qos=nas.EpsQos(qci=7), filters={each.identifier: each for each in filters})
                   for name, filters in dedicated.items()})


def test_filters_are_tried_in_the_order_of_their_precedence_over_all_bearers() -> None:
    wide = PacketFilter(identifier=0, precedence=20, protocol=UDP)
    one = connection(b6=(wide,), b7=(to_port(7),))
    assert bearer_for([one], packet(port=7)) == 7
    assert bearer_for([one], packet(port=8)) == 6
    assert bearer_for([one], packet(protocol=TCP)) == 5
    assert bearer_for([], packet()) is None
    assert bearer_for([one], b"nonsense") == 5


def test_downlink_filters_are_nothing_to_uplink_packets() -> None:
    assert bearer_for([connection(b6=(to_port(7, direction=PacketFilterDirection.DOWNLINK_ONLY),))], packet()) == 5


def test_pdn_connection_is_told_by_the_source_address() -> None:
    both = [connection(b6=(to_port(7),)), connection(8, "10.46.0.9", b9=(to_port(7),))]
    assert bearer_for(both, packet()) == 6
    assert bearer_for(both, packet(local="10.46.0.9")) == 9
    assert bearer_for(both, packet(local="10.46.0.9", port=9)) == 8


@pytest.mark.parametrize(("fields", "fits", "fits_not"), [
    ({"remote": IPv4Network("192.0.2.0/24")}, packet("192.0.2.200"), packet("192.0.3.1")),
    ({"local": IPv4Network("10.45.0.2/32")}, packet(), packet(local="10.45.0.3")),
    ({"local_ports": (4000, 4010)}, packet(local_port=4010), packet(local_port=4011)),
    ({"remote_ports": (7, 7)}, packet(), packet(port=8)),
    ({"type_of_service": (0xB8, 0xFC)}, packet(tos=0xB9), packet(tos=0x20)),
    ({"security_parameter_index": 0x01020304}, packet(protocol=ESP, rest=b"\1\2\3\4\0\0\0\1"), packet(protocol=ESP, rest=b"\1\2\3\5\0\0\0\1")),
    ({"protocol": TCP}, packet(protocol=TCP), packet()),
])
def test_components(fields, fits: bytes, fits_not: bytes) -> None:
    each = PacketFilter(identifier=0, precedence=0, **fields)
    assert matches(each, fits)
    assert not matches(each, fits_not)
