"""Which engine carries which wire, and what is said when none does."""

from __future__ import annotations

import errno

import pytest

from epc.transport.sctp import SctpCapabilities, SctpSettings
from epc.transport.sctp.settings import Engine, Wire

NO_KERNEL, NO_USRSCTP, NO_RAW = "the kernel has no SCTP", "usrsctp is not built in", "raw sockets are refused"


def host(*, kernel: bool = False, usrsctp: bool = True, raw: bool = False) -> SctpCapabilities:
    return SctpCapabilities(kernel="" if kernel else NO_KERNEL, usrsctp="" if usrsctp else NO_USRSCTP, raw_sockets="" if raw else NO_RAW)


@pytest.mark.parametrize(("capabilities", "wire", "engine", "chosen"), [
    (host(), Wire.UDP, Engine.AUTO, Engine.USRSCTP),
    (host(kernel=True), Wire.UDP, Engine.AUTO, Engine.USRSCTP),
    (host(kernel=True, raw=True), Wire.IP, Engine.AUTO, Engine.KERNEL),
    (host(kernel=True, usrsctp=False), Wire.IP, Engine.KERNEL, Engine.KERNEL),
    (host(raw=True), Wire.IP, Engine.AUTO, Engine.USRSCTP),
    (host(kernel=True, raw=True), Wire.IP, Engine.USRSCTP, Engine.USRSCTP),
])
def test_choice(capabilities: SctpCapabilities, wire: Wire, engine: Engine, chosen: Engine) -> None:
    assert capabilities.choose(wire, engine) is chosen


def test_ip_without_kernel_and_without_privilege_names_every_remedy() -> None:
    with pytest.raises(PermissionError) as caught:
        host().choose(Wire.IP, Engine.AUTO)
    for remedy in ("modprobe sctp", "cap_net_raw", "NET_RAW", "wire: udp"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize(("capabilities", "wire", "engine", "says"), [
    (host(usrsctp=False), Wire.UDP, Engine.AUTO, NO_USRSCTP),
    (host(raw=True), Wire.IP, Engine.KERNEL, NO_KERNEL),
    (host(kernel=True), Wire.UDP, Engine.KERNEL, "wire: ip only"),
    (host(usrsctp=False), Wire.IP, Engine.AUTO, NO_USRSCTP),
])
def test_what_cannot_be_had_is_named(capabilities: SctpCapabilities, wire: Wire, engine: Engine, says: str) -> None:
    with pytest.raises(OSError, match=says) as caught:
        capabilities.choose(wire, engine)
    assert caught.value.errno == errno.EPROTONOSUPPORT


def test_usable_means_some_wire_works() -> None:
    assert host().usable
    assert host(usrsctp=False, kernel=True).usable
    assert not host(usrsctp=False, raw=True).usable


def test_settings_that_leave_the_wire_open_follow_what_the_host_can_do() -> None:
    kernel_only = host(kernel=True, usrsctp=False)
    assert kernel_only.wire_to_connect(SctpSettings()) is Wire.IP
    assert kernel_only.wire_to_connect(SctpSettings(listen_wires=(Wire.UDP,))) is Wire.UDP
    assert host(kernel=True).wire_to_connect(SctpSettings()) is Wire.UDP
    assert host().wire_to_connect(SctpSettings(wire=Wire.IP)) is Wire.UDP
