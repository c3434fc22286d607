"""What every node that forwards users' packets needs: the choice of a back end, and the view that tells what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from epc.dataplane.backend import Backend, backend_of, open_forwarder
from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf_backend import MAX_SESSIONS
from epc.dataplane.forwarder import GtpuPort, UserPlane
from epc.dataplane.socket_backend import SocketForwarder
from epc.node.config import Section
from epc.transport.interface import Transport


class UserPlaneSettings(Section):
    """How packets are forwarded in this process. The BPF back end takes root, and a network device that has the GTP-U address."""

    backend: Backend = Field(
        default=Backend.SOCKET,
        description="socket: portable, and captures show every packet; bpf: in the kernel, or else on sockets with a warning; auto: likewise without")
    hook: Hook | Literal["auto"] = Field(
        default="auto", description="where in the kernel: xdp-generic, xdp-native or tc; auto: xdp-generic, and tc where another program is first")
    max_sessions: int = Field(
        default=MAX_SESSIONS, ge=64, le=1 << 20, description="PDN connections that bpf has room for, half a kB each; more are forwarded on sockets")

    async def open_forwarder(
        self, transport: Transport, *, access: GtpuPort | None = None, core: GtpuPort | None = None,
        buffer_packets: int = 32, first_teid: int | None = None,
    ) -> SocketForwarder:
        """A forwarder on the back end that is wanted and possible. Raises ``OSError`` when its ports cannot be opened."""
        return await open_forwarder(
            transport, self.backend, access=access, core=core, buffer_packets=buffer_packets, first_teid=first_teid,
            hook=None if self.hook == "auto" else self.hook, max_sessions=self.max_sessions,
        )


def show_user_plane(forwarder: UserPlane) -> Mapping[str, object]:
    """The view ``userplane``: who forwards and why, and what was forwarded and dropped."""
    statistics = forwarder.statistics()
    usage = statistics.usage
    return {
        **backend_of(forwarder),
        "sessions": statistics.sessions, "buffered_packets": statistics.buffered_packets,
        "uplink_packets": usage.uplink_packets, "uplink_octets": usage.uplink_octets,
        "downlink_packets": usage.downlink_packets, "downlink_octets": usage.downlink_octets,
        "error_indications_sent": statistics.error_indications_sent, "error_indications_received": statistics.error_indications_received,
        "drops": {reason.value: count for reason, count in statistics.drops.items() if count},
    }
