"""A freeDiameter daemon that relays between whoever connects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from epc.transport.interface import Address

EXTENSIONS = Path("/usr/lib/freeDiameter")


def own_address() -> str | None:
    """An IPv4 address that is not the loopback's: freeDiameter wants one."""
    if shutil.which("ip") is None:
        return None
    links = json.loads(subprocess.run(["ip", "-4", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    return next((info["local"] for link in links if link["ifname"] != "lo" and "UP" in link["flags"] for info in link["addr_info"]), None)


ADDRESS = own_address()

needs_freediameter = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.skipif(shutil.which("freeDiameterd") is None or shutil.which("openssl") is None or not EXTENSIONS.exists(),
                       reason="freeDiameter is not installed (apt-get install freediameterd freediameter-extensions)"),
    pytest.mark.skipif(ADDRESS is None, reason="freeDiameter needs an address other than the loopback's"),
]


def make_certificate(folder: Path, identity: str) -> None:
    """freeDiameter wants one even where no TLS is spoken."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
                    "-days", "2", "-subj", f"/CN={identity}"], check=True, capture_output=True)


def free_port(host: str) -> int:
    with socket.socket() as free:
        free.bind((host, 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def freediameter(folder: Path, *, identity: str, realm: str, more: str = "") -> AsyncIterator[Address]:
    """Runs while the block does; serves peers from *.lab. ``more`` are further lines of its configuration."""
    assert ADDRESS is not None
    make_certificate(folder, identity)
    port = free_port(ADDRESS)
    (folder / "acl.conf").write_text("ALLOW_IPSEC *.lab\n")
    (folder / "fd.conf").write_text(f"""
        Identity = "{identity}"; Realm = "{realm}"; Port = {port}; SecPort = 0; No_SCTP; No_IPv6; ListenOn = "{ADDRESS}"; TwTimer = 6;
        TLS_Cred = "{folder}/cert.pem", "{folder}/key.pem"; TLS_CA = "{folder}/cert.pem";
        LoadExtension = "{EXTENSIONS}/dict_nasreq.fdx";
        LoadExtension = "{EXTENSIONS}/dict_dcca.fdx";
        LoadExtension = "{EXTENSIONS}/dict_dcca_3gpp.fdx";
        LoadExtension = "{EXTENSIONS}/acl_wl.fdx" : "{folder}/acl.conf";
        {more}
    """)
    with (folder / "log").open("wb") as log:
        daemon = await asyncio.create_subprocess_exec("freeDiameterd", "-c", str(folder / "fd.conf"), stdout=log, stderr=log)
    try:
        for _ in range(100):
            if "daemon initialized" in (folder / "log").read_text(errors="replace"):
                break
            assert daemon.returncode is None, (folder / "log").read_text(errors="replace")
            await asyncio.sleep(0.1)
        yield Address(ADDRESS, port)
    finally:
        daemon.terminate()
        try:
            await asyncio.wait_for(daemon.wait(), 10)
        except TimeoutError:
            daemon.kill()
            await daemon.wait()
