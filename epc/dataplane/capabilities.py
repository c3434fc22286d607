"""What this machine offers to the user plane, and what to do about each lack: for ``epclab doctor``."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from epc.dataplane import keeper as keeper_script
from epc.dataplane.bpf import layout
from epc.dataplane.bpf.program import LoadedObject, ObjectError, ObjectFile

PROBE_WITHIN_S = 10.0
TUN_DEVICE = Path("/dev/net/tun")
CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 13, 21, 38, 39    # capabilities(7)
BUILD = "python -m epc.dataplane.bpf.build"
BPF_KERNEL = (5, 15)            # generic XDP, tc and ring buffers as the fast back end uses them


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that the machine has or lacks."""

    name: str
    available: bool
    detail: str             # what was found
    remedy: str = ""        # what to do about a lack, and what happens without


def dataplane_capabilities() -> tuple[Capability, ...]:
    """Tries things out rather than guessing; takes a tenth of a second and leaves nothing behind. Not for the event loop."""
    namespaces, tun = _probe_namespaces()
    return namespaces, tun, _raw_sockets(), _bpf()


def _probe_namespaces() -> tuple[Capability, Capability]:
    name = "network namespaces"
    started = _ask_keeper(("start",))[0]
    if "error" in started:
        namespaces = Capability(
            name=name, available=False, detail=str(started["error"]),
            remedy="run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns); "
                   "without, UEs and SGi hosts live inside the process: ping, names and web pages work, but no program can run as a UE",
        )
        return namespaces, Capability(
            name="TUN devices", available=False, detail="need a network namespace", remedy="see network namespaces",
        )
    privileged = bool(started["privileged"])
    how = "as root, named for ip netns" if privileged else "inside a user namespace, no privilege needed"
    namespaces = Capability(name=name, available=True, detail=how)
    probe = f"epclab-doctor-{os.getpid()}"
    opened = _ask_keeper(
        ("start",), ("create", {"name": probe}),
        ("open_tun", {"name": probe, "device": "probe0", "address": "192.0.2.1", "netmask": "255.255.255.255", "mtu": 1400, "routes": []}),
    )[-1]
    if "error" not in opened:
        return namespaces, Capability(name="TUN devices", available=True, detail=f"{TUN_DEVICE} opens inside a namespace")
    if not TUN_DEVICE.exists():
        remedy = "modprobe tun; in a container: --device /dev/net/tun"
    else:
        remedy = f"chmod 666 {TUN_DEVICE} (as most distributions have it), or run as root with CAP_NET_ADMIN"
    return namespaces, Capability(name="TUN devices", available=False, detail=str(opened["error"]), remedy=remedy)


def _ask_keeper(*requests: tuple[str] | tuple[str, dict[str, object]]) -> list[dict[str, object]]:
    """Answers to the requests, up to the first that fails."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answers: list[dict[str, object]] = []
    with ours, theirs:
        ours.settimeout(PROBE_WITHIN_S)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper_script.__file__, str(theirs.fileno())], pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
        )
        theirs.close()
        try:
            for request in requests:
                parameters = request[1] if len(request) == 2 else {}
                ours.send(json.dumps({"operation": request[0], **parameters}).encode())
                octets, descriptors, _, _ = socket.recv_fds(ours, keeper_script.MAX_REQUEST_OCTETS, 4)
                for descriptor in descriptors:
                    os.close(descriptor)
                answers.append(json.loads(octets) if octets else {"error": "the helper process ended at once"})
                if "error" in answers[-1]:
                    break
        finally:
            ours.close()
            try:
                process.wait(PROBE_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return answers


def _raw_sockets() -> Capability:
    name = "raw IP sockets"
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except OSError as error:
        return Capability(
            name=name, available=False, detail=error.strerror or str(error), remedy="CAP_NET_RAW; inside a namespace of ours it is there anyway",
        )
    return Capability(name=name, available=True, detail="CAP_NET_RAW is there")


def _bpf() -> Capability:
    """Whether the BPF back end can run here: its program is loaded, and attached to nothing."""
    name, without = "BPF", "without: the socket back end"
    release = platform.release()
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None or (int(version[1]), int(version[2])) < BPF_KERNEL:
        needed = f"kernel {BPF_KERNEL[0]}.{BPF_KERNEL[1]} or later"
        return Capability(name=name, available=False, detail=f"kernel {release}", remedy=f"{needed}; {without}")
    held = _effective_capabilities()
    wanted = {"CAP_NET_ADMIN": (CAP_NET_ADMIN,), "CAP_BPF": (CAP_BPF, CAP_SYS_ADMIN), "CAP_PERFMON": (CAP_PERFMON, CAP_SYS_ADMIN)}
    lacking = [text for text, sufficient in wanted.items() if not any(held >> bit & 1 for bit in sufficient)]
    if lacking:
        return Capability(name=name, available=False, detail=f"lacks {', '.join(lacking)}", remedy=f"run as root; {without}")
    try:
        shipped = ObjectFile.shipped()
        shipped.check(layout.VALUE_OCTETS)
        loaded = LoadedObject(shipped, defaultdict(lambda: 64))
        try:
            for program in ("xdp_gtpu", "xdp_link"):
                loaded.program(program)
        finally:
            loaded.close()
    except FileNotFoundError:
        return Capability(
            name=name, available=False, detail="its program was not built", remedy=f"apt install clang libbpf-dev; {BUILD}; {without}")
    except ObjectError as error:
        return Capability(name=name, available=False, detail=str(error), remedy=f"{BUILD}; {without}")
    except OSError as error:
        return Capability(name=name, available=False, detail=f"the kernel does not take the program: {error}", remedy=without)
    return Capability(name=name, available=True, detail=f"kernel {release} takes the program (user_plane: {{backend: bpf}})")


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
