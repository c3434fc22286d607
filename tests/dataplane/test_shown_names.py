"""The names that flows show, and garbage that shows none."""

from __future__ import annotations

import random
import struct

import pytest

from epc.dataplane.shown_names import MAX_HEAD_OCTETS, DnsMessage, dns_message, http_host, stream_name, tls_server_name
from tests.dataplane.flows import client_hello, dns_answer, dns_query, grease_hello, http_get


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
