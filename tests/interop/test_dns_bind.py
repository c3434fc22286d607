"""BIND in either place: its dig asks our server, and our MME's resolver asks its named for gateways."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.rdatatype
import pytest

from epc.dns import Dns, DnsConfig
from epc.mme import snaptr
from epc.mme.snaptr import Service
from epc.node import parse_config
from epc.node.metrics import NodeMetrics
from epc.transport.dns import DnsClient, NameUnknown
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from tests.interop.freediameter import free_port

pytestmark = [
    pytest.mark.interop, pytest.mark.real_time,
    pytest.mark.skipif(shutil.which("dig") is None or shutil.which("named") is None,
                       reason="BIND is not installed (apt-get install bind9 bind9-dnsutils)")]
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
RECORDS = f"""
internet.apn NAPTR 10 20 "a" "x-3gpp-pgw:x-s8-gtp" "" topoff.s8.pgw1.node.{REALM}.
internet.apn NAPTR 10 10 "s" "x-3gpp-pgw:x-s8-gtp:x-s5-gtp" "" _pool.{REALM}.
_pool SRV 10 1 2123 topoff.s8.pgw2.node.{REALM}.
topoff.s8.pgw1.node A 127.0.2.13
topoff.s8.pgw2.node A 127.0.2.14
alias CNAME topoff.s8.pgw1.node.{REALM}.
many TXT {" ".join(f'"{"x" * 200}"' for _ in range(12))}
"""


def server(port: int, *, forward_to: int | None = None) -> Dns:
    zones = [] if forward_to else [{"name": REALM, "records": RECORDS}]
    forward = [{"servers": [{"host": "127.0.0.1", "port": forward_to}]}] if forward_to else []
    config = parse_config({"kind": "dns", "name": "dns", "listen": [{"host": "127.0.0.1", "port": port}], "zones": zones, "forward": forward},
                          DnsConfig, source="test")
    return Dns(config, SocketTransport("dns"))


@asynccontextmanager
async def named(folder: Path) -> AsyncIterator[int]:
    """BIND as the home operator's server."""
    port = free_port("127.0.0.1")
    (folder / "zone").write_text(f"$TTL 60\n@ SOA ns.{REALM}. root.{REALM}. 1 3600 600 86400 60\n@ NS ns.{REALM}.\nns A 127.0.0.1\n{RECORDS}")
    (folder / "named.conf").write_text(f"""
        options {{ directory "{folder}"; pid-file none; session-keyfile "{folder}/key"; listen-on port {port} {{ 127.0.0.1; }};
                   listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};
        controls {{ }};
        zone "{REALM}" {{ type primary; file "{folder}/zone"; }};
    """)
    with (folder / "log").open("wb") as log:
        daemon = await asyncio.create_subprocess_exec("named", "-g", "-4", "-c", str(folder / "named.conf"), stdout=log, stderr=log)
    try:
        for _ in range(100):
            if "running" in (folder / "log").read_text(errors="replace"):
                break
            assert daemon.returncode is None, (folder / "log").read_text(errors="replace")
            await asyncio.sleep(0.1)
        yield port
    finally:
        if daemon.returncode is None:
            daemon.terminate()
        await daemon.wait()


async def dig(port: int, *words: str) -> str:
    child = await asyncio.create_subprocess_exec(
        "dig", "@127.0.0.1", "-p", str(port), "+time=2", "+tries=1", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await child.communicate()
    return out.decode()


async def test_dig_understands_our_server() -> None:
    port = free_port("127.0.0.1")
    node = server(port)
    await node.start()
    try:
        answer = await dig(port, f"internet.apn.{REALM}", "NAPTR")
        assert "status: NOERROR" in answer
        assert " aa " in answer
        assert answer.count("x-3gpp-pgw") == 2
        assert f'10 20 "a" "x-3gpp-pgw:x-s8-gtp" "" topoff.s8.pgw1.node.{REALM}.' in answer
        assert (await dig(port, f"alias.{REALM}", "A", "+short")).split() == [f"topoff.s8.pgw1.node.{REALM}.", "127.0.2.13"]
        assert "status: NXDOMAIN" in await dig(port, f"nothing.{REALM}", "A")
        assert "status: REFUSED" in await dig(port, "example.org", "A")
        retried = await dig(port, f"many.{REALM}", "TXT", "+noedns")
        assert "Truncated, retrying in TCP mode" in retried
        assert retried.count("x" * 200) == 12
        assert "IN\tSOA" in await dig(port, REALM, "SOA")
    finally:
        await node.stop()


@pytest.mark.parametrize("through_ours", [False, True], ids=["asked-directly", "through-our-forwarder"])
async def test_gateways_from_named(tmp_path: Path, through_ours: bool) -> None:
    async with named(tmp_path) as port:
        forwarder = server(free_port("127.0.0.1"), forward_to=port) if through_ours else None
        if forwarder is not None:
            await forwarder.start()
        asked = forwarder.config.listen[0].address if forwarder is not None else Address("127.0.0.1", port)
        resolver = DnsClient(SocketTransport("mme"), [asked], observer=NodeMetrics("mme"), entropy=random.Random(1), local="127.0.0.1")
        await resolver.open()
        try:
            found = await snaptr.candidates(
                resolver, f"internet.apn.{REALM}", Service("x-3gpp-pgw", ("x-s8-gtp",)), entropy=random.Random(1))
            assert [(each.node.split(".")[0], each.addresses) for each in found] == [("pgw2", ("127.0.2.14",)), ("pgw1", ("127.0.2.13",))]
            (text,) = await resolver.records(f"many.{REALM}", dns.rdatatype.TXT)
            assert str(text).count("x" * 200) == 12
            with pytest.raises(NameUnknown):
                await resolver.records(f"nothing.{REALM}", dns.rdatatype.A)
        finally:
            resolver.close()
            if forwarder is not None:
                await forwarder.stop()
