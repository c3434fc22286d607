"""Which back end forwards: ``epc.dataplane.backend`` in words of a configuration file, and what happens where the fast one cannot run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum

from epc.dataplane.bpf.fast_path import BpfUnavailable, Hook
from epc.dataplane.bpf_backend import MAX_SESSIONS, BpfForwarder
from epc.dataplane.forwarder import GtpuPort, UserPlane
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Transport
from epc.transport.sockets import SocketTransport

log = logging.getLogger(__name__)


class Backend(Enum):
    SOCKET = "socket"   # portable: every packet through this process
    BPF = "bpf"         # in the kernel; where that cannot be, sockets, and a warning
    AUTO = "auto"       # likewise without the warning


async def open_forwarder(
    transport: Transport, backend: Backend = Backend.SOCKET, *, access: GtpuPort | None = None, core: GtpuPort | None = None,
    buffer_packets: int = 32, first_teid: int | None = None, hook: Hook | None = None, max_sessions: int = MAX_SESSIONS,
) -> SocketForwarder:
    """Open the GTP-U ports on the back end that is wanted, or on sockets after one line in the log that says why.

    Raises ``OSError`` when the ports cannot be opened.
    """
    reason = "as configured"
    if backend is not Backend.SOCKET:
        try:
            if not isinstance(transport, SocketTransport):
                raise BpfUnavailable(0, "the nodes are joined in memory")
            if transport.impairments.rules:
                raise BpfUnavailable(0, "links of this node are impaired, which the kernel would know nothing of")
            fast = await BpfForwarder.open(
                transport, access=access, core=core, buffer_packets=buffer_packets, first_teid=first_teid, hook=hook,
                max_sessions=max_sessions,
            )
        except BpfUnavailable as error:
            reason = f"BPF is not to be had here: {error.strerror}"
            level = logging.WARNING if backend is Backend.BPF else logging.INFO
            log.log(level, "the user plane runs on sockets, %s", reason)
        else:
            fast.reason = reason if backend is Backend.BPF else "this machine has what it takes"
            return fast
    forwarder = await SocketForwarder.open(transport, access=access, core=core, buffer_packets=buffer_packets, first_teid=first_teid)
    forwarder.reason = reason
    return forwarder


def backend_of(forwarder: UserPlane) -> Mapping[str, object]:
    """Who forwards, why, and on which device by which hook of the kernel's."""
    if isinstance(forwarder, BpfForwarder):
        in_kernel = forwarder.usage_in_kernel()
        return {
            "backend": Backend.BPF.value, "reason": forwarder.reason, "hooks": {name: hook.value for name, hook in forwarder.hooks().items()},
            "packets_in_kernel": in_kernel.uplink_packets + in_kernel.downlink_packets,
        }
    if isinstance(forwarder, SocketForwarder):
        return {"backend": Backend.SOCKET.value, "reason": forwarder.reason}
    return {"backend": "pfcp", "reason": "a user-plane function forwards"}
