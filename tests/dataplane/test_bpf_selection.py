"""The choice of a back end: what is configured, and sockets where that cannot run."""

from __future__ import annotations

import errno
import logging
import socket

import pytest
from pydantic import ValidationError

from epc.dataplane.backend import Backend, backend_of, open_forwarder
from epc.dataplane.bpf import fast_path, layout
from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import GtpuPort
from epc.dataplane.socket_backend import SocketForwarder
from epc.node.user_plane import UserPlaneSettings, show_user_plane
from epc.transport.memory import MemoryNetwork
from epc.transport.sockets import SocketTransport
from tests.dataplane.bpf_bench import REASON, BpfBench

LOOPBACK = "127.31.31.31"


@pytest.mark.parametrize(("backend", "levels"), [(Backend.SOCKET, []), (Backend.AUTO, [logging.INFO]), (Backend.BPF, [logging.WARNING])])
async def test_nodes_in_memory_use_sockets(backend: Backend, levels: list[int], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    forwarder = await open_forwarder(MemoryNetwork().transport("node"), backend, access=GtpuPort(address="10.0.0.1", interface="S1-U"))
    assert type(forwarder) is SocketForwarder
    assert [record.levelno for record in caplog.records] == levels
    await forwarder.close()


async def test_a_node_says_what_its_user_plane_runs_on() -> None:
    settings = UserPlaneSettings.model_validate({"backend": "auto", "hook": "xdp-native", "max_sessions": 1000})
    forwarder = await settings.open_forwarder(MemoryNetwork().transport("node"), access=GtpuPort(address="10.0.0.1", interface="S1-U"))
    shown = show_user_plane(forwarder)
    assert (shown["backend"], shown["reason"], shown["sessions"]) == ("socket", "BPF is not to be had here: the nodes are joined in memory", 0)
    await forwarder.close()
    by_default = UserPlaneSettings()
    assert (by_default.backend, by_default.hook) == (Backend.SOCKET, "auto")
    for wrong in ({"backend": "ebpf"}, {"hook": "xdp"}, {"max_sessions": 0}, {"speed": "high"}):
        with pytest.raises(ValidationError):
            UserPlaneSettings.model_validate(wrong)


@pytest.mark.real_time
@pytest.mark.parametrize(("lack", "told"), [
    ("no privilege", "Operation not permitted"), ("no object", "no clang"), ("old object", "built from another source"),
    ("no sense", "cannot be used"),
])
async def test_what_is_missing_is_said_once(lack: str, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "bpf MAP_CREATE: Operation not permitted")

    def not_built() -> None:
        raise FileNotFoundError("gtpu.bpf.o")

    if lack == "no privilege":
        monkeypatch.setattr(fast_path, "LoadedObject", refuse)
        monkeypatch.setattr(fast_path.ObjectFile, "check", lambda self, octets: None)
    elif lack == "old object":
        monkeypatch.setitem(layout.VALUE_OCTETS, "rules", 1)
    elif lack == "no sense":
        monkeypatch.setattr(fast_path.ObjectFile, "shipped", lambda: fast_path.ObjectFile(b"\x7fELF"))
    else:
        monkeypatch.setattr(fast_path.ObjectFile, "shipped", not_built)
    forwarder = await open_forwarder(SocketTransport("node"), Backend.BPF, access=GtpuPort(address=LOOPBACK, interface="S1-U"))
    assert type(forwarder) is SocketForwarder
    (record,) = caplog.records
    assert told in record.getMessage()
    assert told in str(backend_of(forwarder)["reason"])
    await forwarder.close()


@pytest.mark.real_time
@pytest.mark.privileged
@pytest.mark.skipif(bool(REASON), reason=REASON)
async def test_a_port_that_is_taken_is_no_reason_for_another_back_end() -> None:
    bench = BpfBench(fast_path.Hook.XDP_GENERIC)
    try:
        with bench.node.entered():
            port = GtpuPort(address=bench.access_host, interface="S1-U")
            forwarder = await open_forwarder(SocketTransport("node"), Backend.AUTO, access=port)
            assert type(forwarder) is BpfForwarder
            await forwarder.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
                taken.bind((bench.access_host, 2152))
                with pytest.raises(OSError, match="2152"):
                    await open_forwarder(SocketTransport("node"), Backend.AUTO, access=port)
    finally:
        await bench.close()
