"""Which engine carries SCTP on this host, and associations opened through it."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from epc.transport.interface import Address, Association, Listener
from epc.transport.sctp import kernel, usrsctp
from epc.transport.sctp.association import EngineAssociation
from epc.transport.sctp.settings import Engine, SctpSettings, Wire
from epc.transport.tapping import TapPoint

log = logging.getLogger(__name__)

REMEDIES = (
    "load the kernel's SCTP (modprobe sctp), or allow raw sockets (run as root, setcap cap_net_raw+ep on the interpreter, "
    "cap_add: [NET_RAW] in compose); or use `wire: udp`, which needs neither"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpCapabilities:
    """What this host offers. Each field is empty when the thing works, else says why it does not."""

    kernel: str
    usrsctp: str
    raw_sockets: str

    def lack(self, wire: Wire, engine: Engine) -> str:
        """Empty when ``engine`` can do ``wire`` here, else why not and what to do about it."""
        if wire is Wire.UDP:
            return "engine: kernel carries wire: ip only; leave the engine at auto" if engine is Engine.KERNEL else self.usrsctp
        if engine is Engine.KERNEL:
            return self.kernel
        own = self.usrsctp or (f"{self.raw_sockets}: {REMEDIES}" if self.raw_sockets else "")
        return own if engine is Engine.USRSCTP or self.kernel else ""

    @property
    def usable(self) -> bool:
        """Whether nodes of this host can have associations at all."""
        return not (self.lack(Wire.UDP, Engine.AUTO) and self.lack(Wire.IP, Engine.AUTO))

    def wire_to_connect(self, settings: SctpSettings) -> Wire:
        """The settings' wire; where they leave both open, the other one if this host cannot do the first."""
        other = Wire.IP if settings.wire is Wire.UDP else Wire.UDP
        free = settings.listen_wires is None and self.lack(settings.wire, settings.engine) and not self.lack(other, settings.engine)
        return other if free else settings.wire

    def choose(self, wire: Wire, engine: Engine) -> Engine:
        """The engine to use; raises ``PermissionError`` or ``OSError`` with the remedies when there is none."""
        lack = self.lack(wire, engine)
        if lack:
            kind = errno.EPERM if wire is Wire.IP and self.raw_sockets and not self.usrsctp and engine is not Engine.KERNEL else errno.EPROTONOSUPPORT
            raise OSError(kind, f"SCTP on wire: {wire.value} is not possible here: {lack}")
        if wire is Wire.IP and engine is not Engine.USRSCTP and not self.kernel:
            return Engine.KERNEL
        return Engine.USRSCTP


def sctp_capabilities() -> SctpCapabilities:
    """Looks at the host; some microseconds."""
    return SctpCapabilities(kernel=kernel.available(), usrsctp=usrsctp.available(), raw_sockets=_raw_sockets())


def _raw_sockets() -> str:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return f"raw sockets are refused ({error.strerror})"
    return ""


class WiresListener:
    """One SCTP port heard on several wires."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self.local = listeners[0].local

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


def listen(settings: SctpSettings, local: Address, accept: Callable[[Association], None], tap_point: TapPoint) -> WiresListener:
    """Listens on the wires of the settings; when they leave it open, on every wire that this host allows."""
    capabilities = sctp_capabilities()
    wanted = settings.listen_wires or (Wire.UDP, Wire.IP)
    listeners: list[Listener] = []
    errors: list[OSError] = []
    for wire in wanted:
        try:
            engine = capabilities.choose(wire, settings.engine)
            if engine is Engine.KERNEL:
                listeners.append(kernel.KernelListener(settings, local, accept, tap_point))
            else:
                listeners.append(usrsctp.listen(settings, wire, local, accept, tap_point))
            if local.port == 0:
                local = Address(local.host, listeners[0].local.port)
        except OSError as error:
            if settings.listen_wires is not None or (error.errno not in (errno.EPERM, errno.EACCES, errno.EPROTONOSUPPORT)):
                for listener in listeners:
                    listener.close()
                raise
            errors.append(error)
            log.info("sctp.wire_left_out wire=%s local=%s reason=%s", wire.value, local, error.strerror)
    if not listeners:
        raise errors[0]
    return WiresListener(listeners)


async def connect(settings: SctpSettings, remote: Address, local: Address | None, tap_point: TapPoint, timeout_s: float) -> EngineAssociation:
    capabilities = sctp_capabilities()
    wire = capabilities.wire_to_connect(settings)
    engine = capabilities.choose(wire, settings.engine)
    try:
        async with asyncio.timeout(timeout_s):
            if engine is Engine.KERNEL:
                return await kernel.connect(settings, remote, local, tap_point)
            return await usrsctp.connect(settings, wire, remote, local, tap_point)
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, f"SCTP to {remote} on wire {wire.value}: no answer in {timeout_s:g} s") from None
