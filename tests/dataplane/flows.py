"""Packets of flows as phones and servers send them: TCP segments, TLS and HTTP beginnings, DNS messages."""

from __future__ import annotations

import ssl
import struct
from ipaddress import ip_address

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from epc.dataplane.ip_packet import checksum
from epc.dataplane.quic import InitialKeys

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ip(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    one, two = ip_address(source), ip_address(destination)
    if one.version == 4:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + one.packed + two.packed
        return header[:10] + checksum(header).to_bytes(2) + header[12:] + body
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + one.packed + two.packed + body


def _with_checksum(source: str, destination: str, protocol: int, body: bytes, at: int) -> bytes:
    pseudo = ip_address(source).packed + ip_address(destination).packed + struct.pack(">IHBB", len(body), 0, 0, protocol)
    return body[:at] + checksum(pseudo + body).to_bytes(2) + body[at + 2:]


def tcp(source: str, sport: int, destination: str, dport: int, *, seq: int = 0, ack: int = 0, flags: int = ACK, data: bytes = b"") -> bytes:
    body = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0) + data
    return ip(source, destination, 6, _with_checksum(source, destination, 6, body, 16))


def udp(source: str, sport: int, destination: str, dport: int, data: bytes) -> bytes:
    body = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    return ip(source, destination, 17, _with_checksum(source, destination, 17, body, 6))


def client_hello(name: str) -> bytes:
    """As OpenSSL says it: TLS 1.3."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def grease_hello(name: str, *, octets: int = 1900) -> bytes:
    """As browsers say it: GREASE (RFC 8701) before and after everything, and a key share that takes more than one segment (RFC 8446)."""
    server_name = struct.pack(">HBH", len(name) + 3, 0, len(name)) + name.encode()
    key_share = bytes(octets - 150 - len(name))
    extensions = [(0x0A0A, b""), (0x002B, b"\x06\x2a\x2a\x03\x04\x03\x03"), (0x0033, key_share), (0, server_name), (0x1A1A, b"\0")]
    body = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in extensions)
    hello = b"\x03\x03" + bytes(range(32)) + b"\x20" + bytes(32) + b"\x00\x04\x0a\x0a\x13\x01" + b"\x01\x00" + struct.pack(">H", len(body)) + body
    handshake = b"\x01" + len(hello).to_bytes(3) + hello
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def http_get(host: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nUser-Agent: test\r\nHost: {host}\r\n\r\n".encode()


def _dns_name(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def dns_query(name: str, *, number: int = 0x1234, kind: int = 1) -> bytes:
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + _dns_name(name) + struct.pack(">HH", kind, 1)


def dns_answer(name: str, addresses: list[str], *, number: int = 0x1234, ttl_s: int = 60, alias: str = "") -> bytes:
    """With ``alias`` the name is one for that, and the addresses are the alias's."""
    records = b""
    if alias:
        target = _dns_name(alias)
        records += b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, ttl_s, len(target)) + target
    for address in addresses:
        packed = ip_address(address).packed
        records += (_dns_name(alias) if alias else b"\xc0\x0c") + struct.pack(">HHIH", 1 if len(packed) == 4 else 28, 1, ttl_s, len(packed)) + packed
    header = struct.pack(">HHHHHH", number, 0x8180, 1, len(addresses) + bool(alias), 0, 0)
    return header + _dns_name(name) + struct.pack(">HH", 1, 1) + records


class Segment:
    """A TCP segment in an IP packet, taken apart; its checksums are right."""

    def __init__(self, packet: bytes) -> None:
        at = 20 if packet[0] < 0x60 else 40
        source, destination = (packet[12:16], packet[16:20]) if at == 20 else (packet[8:24], packet[24:40])
        assert at == 40 or checksum(packet[:20]) == 0
        assert checksum(source + destination + struct.pack(">IHBB", len(packet) - at, 0, 0, 6) + packet[at:]) == 0
        self.source, self.destination = str(ip_address(source)), str(ip_address(destination))
        self.sport, self.dport, self.seq, self.ack, offset, self.flags = struct.unpack_from(">HHIIBB", packet, at)
        self.data = packet[at + (offset >> 4) * 4:]


def quic_initial(keys: InitialKeys, connection_id: bytes, number: int, frames: bytes, *, version: int = 1, first: int = 0xC3) -> bytes:
    """A client's Initial packet with a packet number of four octets (RFC 9001 clause 5)."""
    frames = frames.ljust(1162, b"\0")
    length = 4 + len(frames) + 16
    header = struct.pack(">BIB", first, version, len(connection_id)) + connection_id + b"\0\0" + struct.pack(">H", 0x4000 | length)
    whole = header + number.to_bytes(4)
    nonce = (int.from_bytes(keys.iv) ^ number).to_bytes(12)
    sealed = AESGCM(keys.key).encrypt(nonce, frames, whole)
    mask = Cipher(algorithms.AES(keys.header_key), modes.ECB()).encryptor().update(sealed[:16])
    protected = bytes(octet ^ other for octet, other in zip(number.to_bytes(4), mask[1:5], strict=True))
    return bytes((whole[0] ^ mask[0] & 0x0F,)) + header[1:] + protected + sealed


def crypto_frame(offset: int, data: bytes) -> bytes:
    return b"\x06" + struct.pack(">HH", 0x4000 | offset, 0x4000 | len(data)) + data


def quic_hello(name: str, *, octets: int = 500, connection_id: bytes = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08") -> list[bytes]:
    """The datagrams of a ClientHello, as browsers send it: in pieces out of order, with pings between them."""
    handshake = grease_hello(name, octets=octets)[5:]
    keys = InitialKeys(b"\0\0\0\1", connection_id)
    made = []
    for number, at in enumerate(range(0, len(handshake), 1000)):
        part = handshake[at:at + 1000]
        half = len(part) // 2
        frames = crypto_frame(at + half, part[half:]) + b"\x01\0\0" + crypto_frame(at, part[:half])
        made.append(quic_initial(keys, connection_id, number, frames))
    return made
