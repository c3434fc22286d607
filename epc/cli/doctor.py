"""``epclab doctor``: what this host offers, and what to do about each lack."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from epc.dataplane.capabilities import dataplane_capabilities
from epc.transport.sctp import Engine, SctpCapabilities, Wire, sctp_capabilities

PYTHON = (3, 11)
COMPILED_PARTS = "pip install -e . (with a C compiler and python3-dev), or make setup"
PROBE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the host has or lacks."""

    name: str
    available: bool
    detail: str
    remedy: str = ""            # what to do about a lack, and what happens without
    is_required: bool = False   # without it nothing runs


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor", help="what this host offers, and what to do about each lack",
        description="Looks at this host. Exit status 0: epclab runs here; 1: something that it cannot do without is missing.")
    parser.add_argument("--strict", action="store_true", help="exit status 1 for any lack, also one that epclab works around")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    findings = list(examine())
    if options.json:
        print(orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode())
    else:
        for line in report(findings, colours=sys.stdout.isatty()):
            print(line)
    return 1 if any(not finding.available and (finding.is_required or options.strict) for finding in findings) else 0


def report(findings: list[Finding], *, colours: bool) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, colour = ("ok  ", 32) if finding.available else ("MISS", 31) if finding.is_required else ("lack", 33)
        shown = f"\033[{colour}m{mark}\033[0m" if colours else mark
        yield f"{shown}  {finding.name:<{width}}  {finding.detail}"
        if not finding.available and finding.remedy:
            yield f"      {'':<{width}}  -> {finding.remedy}"
    missing = [finding.name for finding in findings if not finding.available and finding.is_required]
    lacks = sum(not finding.available for finding in findings)
    yield ""
    if missing:
        yield f"epclab cannot run here without: {', '.join(missing)}."
    elif lacks:
        yield f"epclab runs here; it works around {lacks} lack{'s' if lacks > 1 else ''}."
    else:
        yield "epclab runs here, and nothing is missing."


def examine() -> Iterator[Finding]:
    yield _python()
    yield _module("uvloop", "uvloop", "pip install uvloop; without it asyncio's own loop serves, at a third of the speed")
    yield _module("APER runtime, compiled", "epc.wire.aper.runtime_c", f"{COMPILED_PARTS}; without it the same file runs as Python, ten times slower")
    yield from sctp_findings(sctp_capabilities())
    yield _user_namespaces()
    for capability in dataplane_capabilities():
        yield Finding(name=capability.name, available=capability.available, detail=capability.detail, remedy=capability.remedy)
    yield _program("nftables", "nft", "apt install nftables; only for NAT from the PGW's SGi to the world")
    yield _program("iproute2", "ip", "apt install iproute2; without it `epclab lab up` starts no compose file")
    yield _program("tshark", "tshark", "apt install tshark; without it captures are written but not judged")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        name="Python", available=sys.version_info >= PYTHON, detail=f"{version} ({sys.executable})",
        remedy=f"Python {'.'.join(map(str, PYTHON))} or newer", is_required=True)


def _module(name: str, module: str, remedy: str) -> Finding:
    found = importlib.util.find_spec(module)
    return Finding(name=name, available=found is not None, detail="is there" if found else "is not installed", remedy=remedy)


def sctp_findings(capabilities: SctpCapabilities) -> Iterator[Finding]:
    """What each engine says, and what that means for nodes: one wire is enough."""
    udp_without = "without it SCTP needs the kernel's, and peers that speak it over IP"
    yield Finding(
        name="SCTP in user space", available=not capabilities.usrsctp,
        detail=capabilities.usrsctp or "usrsctp, over UDP 9899 without any privilege",
        remedy=f"apt install libusrsctp-dev, then {COMPILED_PARTS}; {udp_without}")
    yield Finding(
        name="SCTP of the kernel", available=not capabilities.kernel, detail=capabilities.kernel or "on IP protocol 132",
        remedy="modprobe sctp (in a container: on its host); without it usrsctp carries SCTP")
    lack = capabilities.lack(Wire.IP, Engine.AUTO)
    yield Finding(
        name="SCTP over IP", available=not lack,
        detail=lack or ("by the kernel" if not capabilities.kernel else "by usrsctp on a raw socket"),
        remedy="only peers of other make need it: epclab's own nodes also speak SCTP over UDP")
    yield Finding(
        name="SCTP at all", available=capabilities.usable, detail="S1-MME works" if capabilities.usable else "no engine works",
        remedy="see above; until then scenarios run on the in-memory network, all nodes in one process", is_required=True)


def _user_namespaces() -> Finding:
    """Unprivileged ones: what a user who is not root makes networks with."""
    name = "user namespaces"
    if os.geteuid() == 0:
        return Finding(name=name, available=True, detail="not needed: root makes network namespaces directly")
    unshare = shutil.which("unshare")
    if unshare is None:
        limit = Path("/proc/sys/user/max_user_namespaces")
        allowed = limit.exists() and limit.read_text().strip() != "0"
        return Finding(
            name=name, available=allowed, detail=f"{limit} {'allows' if allowed else 'forbids'} them", remedy="sysctl user.max_user_namespaces=10000")
    probe = subprocess.run([unshare, "--user", "--map-root-user", "true"], capture_output=True, text=True, timeout=PROBE_WITHIN_S)
    return Finding(
        name=name, available=probe.returncode == 0, detail="can be made" if probe.returncode == 0 else probe.stderr.strip(),
        remedy="sysctl user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0, or run as root")


def _program(name: str, program: str, remedy: str) -> Finding:
    # Administrators' folders are not on every user's PATH, and the programs work from there all the same.
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return Finding(name=name, available=path is not None, detail=path or "is not installed", remedy=remedy)
