"""One line on a user's packet: addresses and ports, and what it shows of names: DNS, TLS server name, HTTP."""

from __future__ import annotations

import ipaddress

from epc.dataplane.shown_names import dns_message, stream_name

ICMP, TCP, UDP = 1, 6, 17
DNS_PORT = 53
_TLS_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RST = 4
_ICMP_TYPES = {8: "ICMP echo request", 0: "ICMP echo reply", 3: "ICMP unreachable"}
_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ")
_RCODES = {2: "server failure", 3: "no such name", 5: "refused"}


def describe_ip(packet: bytes) -> str:
    """Whatever the packet is; nothing is raised."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return "IPv6 packet" if packet and packet[0] >> 4 == 6 else "user packet"
    source, destination = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
    transport = packet[(packet[0] & 15) * 4:]
    protocol = packet[9]
    if protocol == ICMP and transport:
        return f"{_ICMP_TYPES.get(transport[0], 'ICMP')} {source} > {destination}"
    if protocol in (TCP, UDP) and len(transport) >= 4:
        ports = int.from_bytes(transport[:2]), int.from_bytes(transport[2:4])
        ends = f"{source}:{ports[0]} > {destination}:{ports[1]}"
        shown = _datagram(transport[8:], ports) if protocol == UDP else _segment(transport)
        return f"{shown}, {ends}" if shown else f"{'UDP' if protocol == UDP else 'TCP'} {ends}"
    return f"protocol {protocol} {source} > {destination}"


def _datagram(payload: bytes, ports: tuple[int, int]) -> str:
    message = dns_message(payload) if DNS_PORT in ports else None
    if message is None:
        return ""
    if not message.is_response:
        return f"DNS query {message.question}"
    addresses = ", ".join(str(ipaddress.ip_address(each)) for each in message.addresses)
    return f"DNS answer {message.question}: {addresses or _RCODES.get(payload[3] & 15, 'no address')}"


def _segment(segment: bytes) -> str:
    if len(segment) < 20:
        return ""
    if segment[13] & _RST:
        return "TCP reset"
    payload = segment[segment[12] >> 4 << 2:]
    if len(payload) > 5 and payload[0] == _TLS_HANDSHAKE and payload[5] == _CLIENT_HELLO:
        return f"TLS Client Hello for {stream_name(payload) or 'nobody in particular'}"
    if payload.startswith(_METHODS):
        method, _, rest = payload.partition(b" ")
        target = rest.partition(b" ")[0][:60].decode("ascii", "replace")
        return f"HTTP {method.decode()} {'' if '://' in target else stream_name(payload) or ''}{target}"
    if payload.startswith(b"HTTP/1."):
        return "HTTP " + payload[9:40].split(b"\r\n")[0].decode("ascii", "replace").strip()
    return ""
