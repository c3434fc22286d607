"""The names that flows show, and garbage that shows none."""

from __future__ import annotations

import random
import struct

import pytest

from epc.dataplane.quic import ClientHello, InitialKeys
from epc.dataplane.shown_names import MAX_HEAD_OCTETS, DnsMessage, dns_message, http_host, stream_name, tls_server_name
from tests.dataplane.flows import client_hello, dns_answer, dns_query, grease_hello, http_get, quic_hello, quic_initial


def test_client_hello_of_openssl() -> None:
    hello = client_hello("video.example.net")
    assert hello[:3] == b"\x16\x03\x01"
    assert stream_name(hello) == tls_server_name(hello) == "video.example.net"


@pytest.mark.parametrize("octets", [500, 1900, 8000])
def test_client_hello_of_a_browser(octets: int) -> None:
    assert stream_name(grease_hello("Video.Example.NET", octets=octets)) == "video.example.net"


def test_every_part_of_a_client_hello_wants_more() -> None:
    hello = client_hello("video.example.net")
    for end in range(len(hello)):
        assert stream_name(hello[:end]) is None
    assert stream_name(hello + b"more") == "video.example.net"


def test_client_hello_in_several_records() -> None:
    hello = grease_hello("video.example.net", octets=600)[5:]
    records = b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in (hello[:3], hello[3:100], hello[100:]))
    assert stream_name(records) == "video.example.net"
    assert stream_name(records[:-1]) is None


def test_client_hello_without_a_name() -> None:
    hello = bytearray(grease_hello("a.example", octets=400))
    at = hello.index(b"\x00\x00" + struct.pack(">H", len("a.example") + 5))
    hello[at:at + 2] = b"\xfa\xfa"
    assert stream_name(bytes(hello)) == ""


@pytest.mark.parametrize(("octets", "name"), [
    (http_get("Video.Example.net"), "video.example.net"),
    (http_get("video.example.net:8080"), "video.example.net"),
    (b"POST / HTTP/1.1\r\nhost:video.example.net.\r\n\r\nbody", "video.example.net"),
    (b"GET http://video.example.net/x HTTP/1.1\r\nHost: proxy\r\n\r\n", "video.example.net"),
    (b"CONNECT video.example.net:443 HTTP/1.1\r\n\r\n", "video.example.net"),
    (b"GET / HTTP/1.1\r\nHost: video.example.net\r\nAccept", "video.example.net"),
    (b"GET / HTTP/1.1\r\nHost: video.exam", None),
    (b"GET /a-long-path", None),
    (b"GE", None),
    (b"GET / HTTP/1.0\r\n\r\n", ""),
    (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", ""),
    (b"GET / HTTP/1.1\r\nHost: v\xffdeo\r\n\r\n", ""),
    (b"GET \r\n\r\n", ""),
    (b"SSH-2.0-OpenSSH\r\n", ""),
    (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", ""),      # a ServerHello
    (b"\x17\x03\x03\x00\x01\x00", ""),                      # application data
    (b"", None),
    (b"GET /" + b"x" * MAX_HEAD_OCTETS, ""),
])
def test_other_beginnings(octets: bytes, name: str | None) -> None:
    assert stream_name(octets) == name


def test_dns_question_and_answer() -> None:
    assert dns_message(dns_query("Video.example.net", number=7)) == DnsMessage(id=7, is_response=False, question="video.example.net")
    answer = dns_answer("video.example.net", ["192.0.2.1", "2001:db8::1"], number=7, ttl_s=300, alias="edge.cdn.example")
    assert dns_message(answer) == DnsMessage(
        id=7, is_response=True, question="video.example.net", ttl_s=300,
        addresses=(bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001")),
    )
    assert dns_message(struct.pack(">HHHHHH", 7, 0x8183, 1, 0, 0, 0) + dns_query("no.example")[12:]) == DnsMessage(
        id=7, is_response=True, question="no.example")


@pytest.mark.parametrize("octets", [
    b"", bytes(11), bytes(40), b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\xc0\x0c" + bytes(4),     # a pointer to itself
    b"\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" + dns_query("a.example")[12:],          # two questions
    dns_answer("a.example", ["192.0.2.1"])[:-1], dns_query("a.example")[:-3], b"\x12\x34\x29\x00" + dns_query("a.example")[4:],     # an update
])
def test_no_dns_message(octets: bytes) -> None:
    assert dns_message(octets) is None


RFC_9001_HELLO = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b657861"
    "6d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4"
    "559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100390032"
    "0408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff")
RFC_9001_ID = bytes.fromhex("8394c8f03e515708")


def test_quic_as_in_the_appendix_of_rfc_9001() -> None:
    keys = InitialKeys(b"\0\0\0\1", RFC_9001_ID)
    assert (keys.key.hex(), keys.iv.hex(), keys.header_key.hex()) == (
        "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2")
    packet = quic_initial(keys, RFC_9001_ID, 2, RFC_9001_HELLO)
    assert packet[:38].hex() == "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b"
    assert len(packet) == 1200
    assert ClientHello().put(packet) == "example.com"


def test_quic_version_2() -> None:
    version = bytes.fromhex("6b3343cf")
    packet = quic_initial(InitialKeys(version, RFC_9001_ID), RFC_9001_ID, 2, RFC_9001_HELLO, version=int.from_bytes(version), first=0xD3)
    assert ClientHello().put(packet) == "example.com"


def test_quic_hello_in_two_datagrams_in_any_order() -> None:
    first, second = quic_hello("Video.example.net", octets=1900)
    for one, two in ((first, second), (second, first)):
        hello = ClientHello()
        assert hello.put(one) is None
        assert hello.put(one) is None           # sent again
        assert hello.put(two) == "video.example.net"


def test_quic_that_shows_nothing() -> None:
    (good,) = quic_hello("video.example.net")
    assert ClientHello().put(good) == "video.example.net"
    for spoilt in (b"", good[:40], good[:-1], b"\x40" + good[1:], good[:1] + b"\0\0\0\x09" + good[5:], good[:100] + b"?" + good[101:]):
        assert ClientHello().put(spoilt) == ""
    chance = random.Random(9001)
    keys = InitialKeys(b"\0\0\0\1", RFC_9001_ID)
    for _ in range(2000):
        octets = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            octets[chance.randrange(40)] = chance.randrange(256)
        assert ClientHello().put(bytes(octets[:chance.randrange(len(octets))])) in ("", None, "video.example.net")
        frames = bytearray(RFC_9001_HELLO)
        for _ in range(chance.randrange(1, 6)):
            frames[chance.randrange(len(frames))] = chance.randrange(256)
        name = ClientHello().put(quic_initial(keys, RFC_9001_ID, 1, bytes(frames)))
        assert name is None or isinstance(name, str)


def test_nothing_raises() -> None:
    chance = random.Random(6066)
    good = [client_hello("video.example.net"), grease_hello("video.example.net", octets=400), http_get("video.example.net"),
            dns_query("video.example.net"), dns_answer("video.example.net", ["192.0.2.1"], alias="x.example")]
    for number in range(6000):
        spoilt = bytearray(good[number % len(good)])
        for _ in range(chance.randrange(1, 6)):
            spoilt[chance.randrange(min(len(spoilt), 200))] = chance.randrange(256)
        octets = bytes(spoilt[:chance.randrange(len(spoilt) + 1)]) if number % 3 else bytes(spoilt)
        for read in (stream_name, tls_server_name, http_host):
            assert read(octets) is None or isinstance(read(octets), str)
        assert dns_message(octets) is None or isinstance(dns_message(octets), DnsMessage)
        dns_message(chance.randbytes(60))
