"""The names that flows show to whoever looks: TLS server name, HTTP host, DNS question and answer. Pure functions; octets are never trusted.

A reader returns the name in lower case without a final dot, ``""`` when there is none to be expected any more, and ``None`` when more octets
of the stream are needed to tell. None of them raises anything, whatever it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_HEAD_OCTETS = 16384         # a ClientHello or HTTP head longer than this shows no name
_TLS_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_HTTP_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
_NAME_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_A, _AAAA, _IN = 1, 28, 1
_MAX_RECORDS = 64


def stream_name(octets: bytes) -> str | None:
    """The name that the client's side of a TCP connection begins with."""
    if not octets:
        return None
    name = tls_server_name(octets) if octets[0] == _TLS_HANDSHAKE else http_host(octets)
    return "" if name is None and len(octets) >= MAX_HEAD_OCTETS else name


def tls_server_name(octets: bytes) -> str | None:
    """Of the ClientHello that a TLS connection begins with (RFC 8446 clause 4.1.2, RFC 6066 clause 3), be it spread over several records."""
    hello, at = bytearray(), 0
    while True:
        if len(octets) < at + 5:
            return None
        if octets[at] != _TLS_HANDSHAKE or octets[at + 1] != 3:
            return ""
        length = octets[at + 3] << 8 | octets[at + 4]
        hello += octets[at + 5:at + 5 + length]
        at += 5 + length
        if not length:
            return ""
        name = handshake_name(bytes(hello))
        if name is not None:
            return name
        if len(octets) < at:
            return None


def handshake_name(octets: bytes) -> str | None:
    """Likewise of the handshake messages themselves, without records around them."""
    if len(octets) < 4:
        return None
    wanted = 4 + int.from_bytes(octets[1:4])
    if octets[0] != _CLIENT_HELLO or wanted > MAX_HEAD_OCTETS:
        return ""
    return _server_name(octets[4:wanted]) if len(octets) >= wanted else None


def _server_name(hello: bytes) -> str:
    at = 34                                             # version, random
    for length_octets in (1, 2, 1):                     # session, cipher suites, compression methods
        at += length_octets + int.from_bytes(hello[at:at + length_octets])
    end, at = min(len(hello), at + 2 + int.from_bytes(hello[at:at + 2])), at + 2
    while at + 4 <= end:
        kind, length = hello[at] << 8 | hello[at + 1], hello[at + 2] << 8 | hello[at + 3]
        if kind == _SERVER_NAME:
            names = hello[at + 6:min(end, at + 4 + length)]         # after the list's length
            while len(names) >= 3:
                name_length = names[1] << 8 | names[2]
                if names[0] == _HOST_NAME:
                    return _name(names[3:3 + name_length])
                names = names[3 + name_length:]
            return ""
        at += 4 + length
    return ""


def http_host(octets: bytes) -> str | None:
    """Of the request that an HTTP connection begins with (RFC 9112 clauses 3.2 and 3.3); a proxy's absolute target goes before the Host."""
    if not any(octets.startswith(method) for method in _HTTP_METHODS):
        return None if any(method.startswith(octets) for method in _HTTP_METHODS) else ""
    head, blank, _ = octets.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not blank and len(lines) < 2:
        return None                                     # not even the request line
    target = lines[0].split(b" ")[1]
    scheme, slashes, rest = target.partition(b"://")
    if lines[0].startswith(b"CONNECT "):
        return _without_port(target)
    if slashes and scheme.lower() in (b"http", b"https"):
        return _without_port(rest.partition(b"/")[0])
    for line in lines[1:] if blank else lines[1:-1]:    # the last one may go on
        field, colon, value = line.partition(b":")
        if colon and field.strip().lower() == b"host":
            return _without_port(value.strip())
    return "" if blank else None


def _without_port(authority: bytes) -> str:
    return "" if authority.startswith(b"[") else _name(authority.partition(b":")[0])


def _name(octets: bytes) -> str:
    lower = octets.lower().rstrip(b".")
    return lower.decode("ascii") if 0 < len(lower) <= 253 and _NAME_OCTETS.issuperset(lower) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsMessage:
    """One question, and the addresses in the answer to it (RFC 1035 clause 4)."""

    id: int
    is_response: bool
    question: str
    addresses: tuple[bytes, ...] = ()       # of 4 or 16 octets
    ttl_s: int = 0                          # the shortest of all records in the answer


def dns_message(octets: bytes) -> DnsMessage | None:
    """``None`` for what is no DNS query or response about one name."""
    try:
        return _dns_message(octets)
    except (IndexError, ValueError):
        return None


def _dns_message(octets: bytes) -> DnsMessage | None:
    if len(octets) < 17 or octets[2] & 0x78 or octets[4:6] != b"\0\1":      # a standard query with one question
        return None
    question, at = _dns_name(octets, 12)
    at += 4
    is_response = bool(octets[2] & 0x80)
    if not question or at > len(octets):
        return None
    number = octets[0] << 8 | octets[1]
    if not is_response or octets[3] & 15:
        return DnsMessage(id=number, is_response=is_response, question=question)
    addresses: list[bytes] = []
    ttl_s = 0x7FFFFFFF
    for _ in range(min(octets[6] << 8 | octets[7], _MAX_RECORDS)):
        _, at = _dns_name(octets, at)
        kind, group, length = octets[at] << 8 | octets[at + 1], octets[at + 2] << 8 | octets[at + 3], octets[at + 8] << 8 | octets[at + 9]
        data = octets[at + 10:at + 10 + length]
        if len(data) != length:
            return None
        if group == _IN:
            ttl_s = min(ttl_s, int.from_bytes(octets[at + 4:at + 8]))
            if (kind, length) in ((_A, 4), (_AAAA, 16)):
                addresses.append(data)
        at += 10 + length
    return DnsMessage(id=number, is_response=True, question=question, addresses=tuple(addresses), ttl_s=ttl_s if addresses else 0)


def _dns_name(octets: bytes, at: int) -> tuple[str, int]:
    """The name, ``""`` if it is none that a host can have, and where what follows it begins."""
    labels: list[bytes] = []
    after = 0
    for _ in range(128):
        length = octets[at]
        if length & 0xC0 == 0xC0:
            after = after or at + 2
            at = (length & 0x3F) << 8 | octets[at + 1]
        elif length & 0xC0:
            raise ValueError("label type")
        elif length:
            labels.append(octets[at + 1:at + 1 + length])
            at += 1 + length
        else:
            return _name(b".".join(labels)), after or at + 1
    raise ValueError("the name does not end")
