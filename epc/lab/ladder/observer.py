"""A tap that turns packets into ladder events while the scenario runs."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from epc.lab.ladder.credit import services_told
from epc.lab.ladder.event import LadderEvent, Rung, TunnelSighting
from epc.lab.ladder.fields import message_name, spaced, tree_of
from epc.lab.ladder.lifelines import Lifelines, NodePlace
from epc.lab.ladder.steps import AttachFilter
from epc.lab.ladder.user_packet import describe_ip
from epc.transport import dns
from epc.transport.interface import Address, Carrier, Direction, TappedPacket
from epc.transport.pfcp import PFCP_PORT
from epc.wire import diameter, gtpu, gtpv2, nas, pfcp, s1ap
from epc.wire.errors import WireError

# who talks to whom on each reference point, to name the far end before its address was ever seen as a source
_ENDS = {
    "S1-MME": ("enb", "mme"), "S11": ("mme", "sgw"), "S5/S8": ("sgw", "pgw"), "S6a": ("mme", "hss"), "Gx": ("pgw", "pcrf"), "S1-U": ("enb", "sgw"),
    "Sxa": ("sgw", "sgwu"), "Sxb": ("pgw", "pgwu"), "Gy": ("pgw", "ocs"), "Rx": ("af", "pcrf"),
}

# F-TEID interface types (TS 29.274 clause 8.22)
_FTEID_NAMES = {
    10: "s11_mme_teid", 6: "s5c_sgw_teid", 4: "s5u_sgw_teid", 7: "s5c_pgw_teid", 5: "s5u_pgw_teid", 11: "s11_sgw_teid", 1: "s1u_sgw_teid",
    0: "s1u_enb_teid",
}
_FOLDING_DEPTH = 16     # how far back a user packet looks for its like
_DIAMETER_ACRONYMS = {
    "CapabilitiesExchange": "CE", "DeviceWatchdog": "DW", "DisconnectPeer": "DP", "AuthenticationInformation": "AI", "UpdateLocation": "UL",
    "CancelLocation": "CL", "InsertSubscriberData": "ID", "DeleteSubscriberData": "DS", "PurgeUE": "PU", "Notify": "NO", "CreditControl": "CC",
    "ReAuth": "RA", "AbortSession": "AS", "SessionTermination": "ST", "AA": "AA",
}


# Of which reference point a Diameter message is, whichever node, agents too, sends it on which connection
_INTERFACES = {
    diameter.S6A_APPLICATION: "S6a", diameter.GX_APPLICATION: "Gx", diameter.GY_APPLICATION: "Gy", diameter.RX_APPLICATION: "Rx",
    diameter.S9_APPLICATION: "S9",
}
# and of which one that concerns the connection itself, by the kinds of nodes at its ends
_CONNECTIONS = {frozenset(_ENDS[name]): name for name in _INTERFACES.values() if name in _ENDS} | {frozenset(["pcrf"]): "S9"}


class LadderObserver:
    """Keeps every control message and folds user packets; ``on_event`` hears of each line as it appears.

    ``lifelines`` says where nodes stand; names of nodes with their kinds will do. ``read_nas`` deciphers a protected NAS message when the lab knows
    the keys.
    """

    def __init__(
        self,
        lifelines: Lifelines | Mapping[str, str],
        *,
        on_event: Callable[[LadderEvent], None] | None = None,
        read_nas: Callable[[bytes, bool], bytes | None] | None = None,
    ) -> None:
        self.events: list[LadderEvent] = []
        self.undecoded = 0
        if not isinstance(lifelines, Lifelines):
            lifelines = Lifelines({name: NodePlace(kind) for name, kind in lifelines.items()})
        self.lifelines = lifelines
        self._on_event = on_event
        self._read_nas = read_nas
        self._hosts: dict[str | Address, str] = dict(self.lifelines.hosts().items())      # whose an address is, by itself or with its port
        self._start: float | None = None
        self._streams: dict[tuple[Address, Address], bytes] = {}
        self._seen: set[tuple[Address, Address, bytes]] = set()
        self._attach = AttachFilter()
        self._sessions: dict[str, str] = {}
        self.tunnels: dict[tuple[str, int, str], str] = {}      # (name, teid, address): the message that showed it first
        self._imsi_of_teid: dict[tuple[str, int], str] = {}
        self._user_names: dict[tuple[str, int], str] = {}       # (address, TEID) of a user tunnel: its name
        self._bearers: dict[tuple[str, int], int] = {}                  # EBI of dedicated bearers, by address and TEID
        self._imsi_of_ue: dict[tuple[str, int], str] = {}       # (eNodeB's address, eNB UE S1AP ID)
        self.last_imsi = ""                 # whom the latest packet was about
        self.readable: list[bytes] = []     # plain NAS messages of the latest packet, where it was ciphered

    # Tap

    def packet(self, packet: TappedPacket) -> None:
        self.last_imsi = ""
        self.readable.clear()
        if packet.direction is Direction.RECEIVED:
            self._hosts[packet.destination] = packet.node
            self._hosts.setdefault(packet.destination.host, packet.node)
            return
        self._hosts[packet.source] = self._hosts[packet.source.host] = packet.node
        if self._start is None:
            self._start = packet.time
        try:
            if packet.interface == "DNS":
                self._dns(packet)
            elif packet.carrier is Carrier.SCTP:
                self._s1ap(packet)
            elif packet.carrier is Carrier.TCP:
                self._diameter(packet)
            elif 2152 in (packet.source.port, packet.destination.port):
                self._gtpu(packet)
            elif PFCP_PORT in (packet.source.port, packet.destination.port):
                self._pfcp(packet)
            else:
                self._gtpc(packet)
        except WireError:
            self.undecoded += 1

    # one protocol each

    def _s1ap(self, packet: TappedPacket) -> None:
        message = s1ap.decode(packet.payload)
        trees = [(message_name(message), tree_of(message))]
        classes = [type(message).__name__]
        uplink = self.lifelines.kind_of(packet.node) == "enb"
        name, carried_by, ciphered, imsi = message_name(message), "", False, ""
        for pdu in _nas_pdus(message):
            plain, was_ciphered = self._plain_nas(pdu, uplink)
            ciphered |= was_ciphered
            if plain is None:
                continue
            if was_ciphered:
                self.readable.append(plain)
            for inner in _nas_messages(plain, uplink):
                classes.append(type(inner).__name__)
                trees.append((spaced(type(inner).__name__), tree_of(inner)))
                imsi = imsi or _imsi_in(inner)
        enb_ue_s1ap_id = getattr(message, "enb_ue_s1ap_id", None)
        if enb_ue_s1ap_id is not None:
            key = (packet.source.host if uplink else packet.destination.host, enb_ue_s1ap_id)
            if imsi:
                self._imsi_of_ue[key] = imsi
            imsi = imsi or self._imsi_of_ue.get(key, "")
        nas_names = [each for each in classes[1:] if not each.startswith("SecurityProtected")]
        if nas_names:
            carried_by = name
            name = spaced(nas_names[0])
        rung = Rung("ue" if nas_names and uplink else self.lifelines.of_node(packet.node), self._far(packet)[1])
        if nas_names and not uplink:
            rung = Rung(rung.source, "ue")
        self._add(packet, name=name, carried_by=carried_by, classes=tuple(classes), rung=rung, trees=trees, ciphered=ciphered, imsi=imsi,
                  tunnels=tuple(_s1ap_tunnels(message)))

    def _plain_nas(self, pdu: bytes, uplink: bool) -> tuple[bytes | None, bool]:
        """The plain NAS message in ``pdu`` and whether it was ciphered; None when it cannot be read here."""
        if len(pdu) < 2 or pdu[0] & 0x0F != 7 or not pdu[0] >> 4 or pdu[0] >> 4 >= 12:
            return pdu, False
        ciphered = pdu[0] >> 4 in (2, 4, 5)
        if self._read_nas is not None:
            plain = self._read_nas(pdu, uplink)
            if plain is not None:
                return plain, ciphered and plain != pdu[6:]
        return (None, True) if ciphered and not _looks_plain(pdu[6:]) else (pdu[6:], False)

    def _gtpc(self, packet: TappedPacket) -> None:
        decoded = gtpv2.decode(packet.payload)
        message = decoded.message
        sightings = tuple(_gtp_tunnels(message))
        imsi = str(getattr(message, "imsi", None) or "")
        if not imsi and decoded.teid:
            imsi = self._imsi_of_teid.get((packet.destination.host, decoded.teid), "")
        if imsi:
            for each in sightings:
                self._imsi_of_teid[each.address, each.teid] = imsi
        if isinstance(message, gtpv2.CreateBearerResponse):
            for context in message.bearer_contexts:
                for end in _gtp_tunnels(context):
                    self._bearers[end.address, end.teid] = int(context.ebi)
        detail = f"to {self._label(packet.destination.host, decoded.teid)}" if decoded.teid else ""
        cause = getattr(message, "cause", None)
        if cause is not None:
            value = getattr(cause, "value", cause)
            detail += f" {getattr(value, 'name', value)}".replace("_", " ").lower()
        header = [("teid", f"0x{decoded.teid:08x}" if decoded.teid is not None else "none"), ("sequence", str(decoded.sequence))]
        self._add(packet, name=message_name(message), classes=(type(message).__name__,), rung=self._rung(packet), detail=detail.strip(),
                  trees=[("GTPv2-C header", header), (message_name(message), tree_of(message))], tunnels=sightings, imsi=imsi)

    def _pfcp(self, packet: TappedPacket) -> None:
        decoded = pfcp.decode(packet.payload)
        message = decoded.message
        cause = getattr(message, "cause", None)
        detail = "" if cause is None else str(getattr(cause, "name", cause)).replace("_", " ").lower()
        header = [("seid", f"0x{decoded.seid:016x}" if decoded.seid is not None else "none"), ("sequence", str(decoded.sequence))]
        self._add(packet, name=message_name(message), classes=(type(message).__name__,), rung=self._rung(packet), detail=detail,
                  trees=[("PFCP header", header), (message_name(message), tree_of(message))])

    def _dns(self, packet: TappedPacket) -> None:
        message = dns.parse(packet.payload if packet.carrier is Carrier.UDP else packet.payload[2:])
        name, detail = dns.describe(message)
        self._add(packet, name=name, classes=("DnsMessage",), rung=self._rung(packet), detail=detail.replace(".3gppnetwork.org", ""),
                  trees=[(name, [(str(number), line) for number, line in enumerate(str(message).splitlines(), 1)])])

    def _diameter(self, packet: TappedPacket) -> None:
        key = (packet.source, packet.destination)
        data = self._streams.get(key, b"") + packet.payload
        while len(data) >= 4:
            length = int.from_bytes(data[1:4])
            if length < 20 or len(data) < length:
                break
            octets, data = data[:length], data[length:]
            try:
                self._diameter_message(packet, octets)
            except WireError:
                self.undecoded += 1
        self._streams[key] = data

    def _diameter_message(self, packet: TappedPacket, octets: bytes) -> None:
        decoded = diameter.decode(octets)
        message = decoded.message
        class_name = type(message).__name__
        session = str(getattr(message, "session_id", None) or "")
        imsi = str(getattr(message, "user_name", None) or "")
        if class_name == "CreditControlRequest":
            imsi = next((str(each.subscription_id_data) for each in getattr(message, "subscription_id", None) or ()
                         if getattr(each, "subscription_id_type", None) == 1), "")
        if session and imsi:
            self._sessions[session] = imsi
        imsi = imsi or self._sessions.get(session, "")
        acronym = next((short + ("R" if class_name.endswith("Request") else "A") for long, short in _DIAMETER_ACRONYMS.items()
                        if class_name.startswith(long)), "")
        result = getattr(message, "result_code", None)
        if result is None:
            result = getattr(getattr(message, "experimental_result", None), "experimental_result_code", None)
        detail = "" if result is None else str(getattr(result, "name", result)).removeprefix("DIAMETER_").replace("_", " ").lower()
        request_type = getattr(message, "cc_request_type", None)
        if request_type is not None:
            detail = f"{getattr(request_type, 'name', request_type)} {detail}".replace("_REQUEST", "").lower().strip()
        detail = " ".join([*filter(None, [detail]), *services_told(message)])
        far = self._far(packet)[0]
        kinds = frozenset((self.lifelines.kind_of(packet.node), self.lifelines.kind_of(far)))
        interface = _INTERFACES.get(decoded.header.application_id) or _CONNECTIONS.get(kinds, "")
        if "dra" in kinds and not decoded.header.application_id:
            interface = "Diameter"      # an agent's connection is of no reference point
        self._add(packet, name=spaced(class_name) + (f" ({acronym})" if acronym else ""), classes=(class_name,), rung=self._rung(packet),
                  detail=detail, trees=[(spaced(class_name), tree_of(message))], imsi=imsi, octets=octets, interface=interface)

    def _gtpu(self, packet: TappedPacket) -> None:
        decoded = gtpu.decode(packet.payload)
        message = decoded.message
        if isinstance(message, gtpu.GPdu):
            name = describe_ip(message.payload)
            detail = f"through {self._label(packet.destination.host, decoded.teid)}"
        else:
            name, detail = f"GTP-U {message_name(message)}", ""
        rung = self._rung(packet)
        interface = "S1-U" if any(end.rpartition("/")[2] == "enb" for end in rung) else "S5/S8-U"
        imsi = self.last_imsi = self._imsi_of_teid.get((packet.destination.host, decoded.teid), "")
        for event in reversed(self.events[-_FOLDING_DEPTH:]):
            if event.interface not in ("S1-U", "S5/S8-U"):
                break
            if (event.interface, event.rung, event.name, event.detail) == (interface, rung, name, detail):
                event.count += 1
                return
        trees = [("GTP-U header", [("teid", f"0x{decoded.teid:08x}")]), (message_name(message), tree_of(message))]
        self._add(packet, name=name, classes=(), rung=rung, detail=detail, trees=trees, interface=interface, imsi=imsi)

    # names

    def _far(self, packet: TappedPacket) -> tuple[str, str]:
        """Name and lifeline of the node at the other end."""
        known = self._hosts.get(packet.destination) or self._hosts.get(packet.destination.host)
        if known is not None:
            return known, self.lifelines.of_node(known)
        own = self.lifelines.kind_of(packet.node)
        ends = _ENDS.get(packet.interface.removesuffix("-U") if packet.interface.startswith("S5") else packet.interface, ())
        kind = next((each for each in ends if each != own), "?")
        names = self.lifelines.nodes_of_kind(kind)
        return (names[0], self.lifelines.of_node(names[0])) if len(names) == 1 else (str(packet.destination), kind)

    def _rung(self, packet: TappedPacket) -> Rung:
        return Rung(self.lifelines.of_node(packet.node), self._far(packet)[1])

    def _label(self, host: str, teid: int) -> str:
        name = self._user_names.get((host, teid))
        if name is None:
            return f"TEID 0x{teid:08x}"
        bearer = self._bearers.get((host, teid))
        return "t" + str(list(_ORDER).index(name) + 1) + (f" of bearer {bearer}" if bearer else "")

    def _add(
        self, packet: TappedPacket, *, name: str, classes: tuple[str, ...], rung: Rung, trees: list[tuple[str, Any]], detail: str = "",
        carried_by: str = "", tunnels: tuple[TunnelSighting, ...] = (), ciphered: bool = False, imsi: str = "", octets: bytes | None = None,
        interface: str = "",
    ) -> None:
        self.last_imsi = imsi
        octets = packet.payload if octets is None else octets
        control = bool(classes)
        key = (packet.source, packet.destination, octets)
        repeated = control and packet.carrier is Carrier.UDP and key in self._seen
        if control and packet.carrier is Carrier.UDP:
            self._seen.add(key)
        fresh = []
        for sighting in tunnels:
            identity = (sighting.name, sighting.teid, sighting.address)
            if identity not in self.tunnels:
                self.tunnels[identity] = f"{name} ({packet.interface})"
                self._user_names[sighting.address, sighting.teid] = sighting.name
                fresh.append("t" + str(list(_ORDER).index(sighting.name) + 1) + f"=0x{sighting.teid:08x}")
        start = packet.time if self._start is None else self._start
        event = LadderEvent(
            number=len(self.events) + 1, time_s=packet.time - start, interface=interface or packet.interface,
            source=packet.node, destination=self._far(packet)[0], rung=rung, name=name, carried_by=carried_by,
            step=self._attach.number(classes, packet.interface), imsi=imsi, detail=" ".join([*filter(None, [detail]), *fresh]),
            tunnels=tunnels, trees=tuple(trees), octets=octets, ciphered=ciphered, repeated=repeated)
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)


_ORDER = (
    "s11_mme_teid", "s5c_sgw_teid", "s5u_sgw_teid", "s5c_pgw_teid", "s5u_pgw_teid", "s11_sgw_teid", "s1u_sgw_teid", "s1u_enb_teid")


def _inside(value: object) -> Iterator[object]:
    """``value`` and everything in it that is a dataclass."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from _inside(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _inside(each)


def _gtp_tunnels(message: object) -> Iterator[TunnelSighting]:
    for each in _inside(message):
        if isinstance(each, gtpv2.Fteid) and each.teid and int(each.interface_type) in _FTEID_NAMES:
            yield TunnelSighting(_FTEID_NAMES[int(each.interface_type)], int(each.teid), str(each.ipv4 or each.ipv6))


def _s1ap_tunnels(message: object) -> Iterator[TunnelSighting]:
    answer = getattr(message, "kind", "") == "successful"
    for each in _inside(message):
        teid, address = getattr(each, "gtp_teid", None), getattr(each, "transport_layer_address", None)
        if isinstance(teid, bytes) and address is not None:
            value, bits = address
            if bits >= 32:
                text = str(ipaddress.IPv4Address(value >> (bits - 32))) if bits in (32, 160) else str(ipaddress.IPv6Address(value))
                yield TunnelSighting("s1u_enb_teid" if answer else "s1u_sgw_teid", int.from_bytes(teid), text)


def _nas_pdus(message: object) -> Iterator[bytes]:
    for each in _inside(message):
        pdu = getattr(each, "nas_pdu", None)
        if isinstance(pdu, bytes):
            yield pdu


def _nas_messages(octets: bytes, uplink: bool) -> Iterator[object]:
    """The NAS message and those inside it: an ESM container, a replayed request."""
    try:
        message = nas.decode(octets, uplink=uplink)
    except WireError:
        return
    yield message
    if isinstance(message, nas.SecurityProtected):
        yield from _nas_messages(message.payload, uplink)
    container = getattr(message, "esm_message_container", None)
    if isinstance(container, bytes):
        yield from _nas_messages(container, uplink)


def _imsi_in(message: object) -> str:
    identity = getattr(message, "eps_mobile_identity", None) or getattr(message, "mobile_identity", None)
    return str(getattr(identity, "imsi", "") or "")


def _looks_plain(octets: bytes) -> bool:
    """With EEA0 the octets after the security header are a plain message: protocol discriminator EMM or ESM."""
    return len(octets) >= 2 and (octets[0] == 0x07 or (octets[0] & 0x0F == 2 and len(octets) >= 3))
