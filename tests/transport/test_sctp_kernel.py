"""The kernel's SCTP as far as it can be tested without one: the octets of its ancillary data and notifications, and what they do."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import cast

import pytest

from epc.transport.interface import Association, Carrier
from epc.transport.sctp import kernel
from epc.transport.sctp.settings import SPECIFICATION, SctpSettings
from epc.transport.sockets import SocketTransport
from epc.transport.tapping import TapPoint

Received = tuple[bytes, list[tuple[int, int, bytes]], int, None]


class FakeSocket:
    """A one-to-one SCTP socket that says what the test gave it to say; a pipe stands for its readiness."""

    def __init__(self) -> None:
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self.to_receive: deque[Received | OSError] = deque()
        self.sent: list[tuple[bytes, list[tuple[int, int, bytes]]]] = []
        self.options: list[tuple[int, int, object]] = []
        self.has_room = True
        self.error = 0
        self.shut = False
        self.blocking = True

    def say(self, data: bytes, flags: int = socket.MSG_EOR, stream: int = 0, ppid: int = 0) -> None:
        info = struct.pack("=HHHxxIIIIi", stream, 1, 0, socket.htonl(ppid), 1, 1, 0, 5)
        self.to_receive.append((data, [(132, 3, info)] if data else [], flags, None))
        self._wake.send(b"x")

    def notify(self, kind: int, body: bytes = b"") -> None:
        data = struct.pack("=HHI", kind, 0, 8 + len(body)) + body
        self.to_receive.append((data, [], kernel.MSG_NOTIFICATION | socket.MSG_EOR, None))
        self._wake.send(b"x")

    def association_change(self, state: int, outbound_streams: int = 0, inbound_streams: int = 0) -> None:
        self.notify(0x8001, struct.pack("=HHHHi", state, 0, outbound_streams, inbound_streams, 5))

    # What the engine calls

    def fileno(self) -> int:
        return self._woken.fileno()

    def getsockname(self) -> tuple[str, int]:
        return "10.0.0.1", 36412

    def getpeername(self) -> tuple[str, int]:
        return "10.0.0.2", 36412

    def recvmsg(self, size: int, ancillary_size: int) -> Received:
        if not self.to_receive:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        self._woken.recv(1)
        item = self.to_receive.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def sendmsg(self, buffers: list[bytes], ancillary: list[tuple[int, int, bytes]]) -> int:
        if not self.has_room:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.sent.append((b"".join(buffers), ancillary))
        return len(buffers[0])

    def setsockopt(self, level: int, option: int, value: object) -> None:
        self.options.append((level, option, value))

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:
        if option == kernel.SCTP_STATUS:
            return kernel.STATUS.pack(5, 4, 1000, 0, 0, 7, 8, 0, 0, b"", 0, 4380, 10, 200, 1400)
        return bytes(size) if size else self.error

    def setblocking(self, flag: bool) -> None:
        self.blocking = flag

    def shutdown(self, how: int) -> None:
        self.shut = how == socket.SHUT_WR

    def close(self) -> None:
        self._wake.close()
        self._woken.close()


@pytest.fixture
def fake() -> Iterator[FakeSocket]:
    fake = FakeSocket()
    yield fake
    fake.close()


class Listener:
    """Stands for the listener, to which a restarted association is presented."""

    def __init__(self) -> None:
        self.presented: list[Association] = []

    def present(self, association: Association) -> None:
        self.presented.append(association)


class End:
    def __init__(self, fake: FakeSocket, listener: Listener | None = None, settings: SctpSettings | None = None) -> None:
        self.association = kernel.KernelAssociation(
            cast(socket.socket, fake), settings or SctpSettings(), TapPoint(SocketTransport("mme"), Carrier.SCTP, "S1-MME"),
            listener=cast(kernel.KernelListener, listener) if listener is not None else None,
        )
        self.heard: list[object] = []
        self.association.on_message = lambda *message: self.heard.append(message)
        self.association.on_closed = self.heard.append


async def settle() -> None:
    await asyncio.sleep(0.01)


def test_send_info_is_struct_sctp_sndinfo_with_the_ppid_in_network_order() -> None:
    assert kernel.pack_send_info(3, 18) == [(132, 2, struct.pack("=HH4sIi", 3, 0, b"\0\0\0\x12", 0, 0))]
    assert kernel.SNDINFO.size == 16


def test_receive_info_is_struct_sctp_rcvinfo() -> None:
    data = struct.pack("=HHHxx4sIIIi", 3, 7, 0, b"\0\0\0\x12", 1000, 999, 0, 5)
    assert len(data) == 28
    assert kernel.unpack_receive_info([(1, 29, b"time"), (132, 3, data)]) == (3, 18)
    assert kernel.unpack_receive_info([]) == (0, 0)
    assert kernel.unpack_receive_info([(132, 3, data[:20])]) == (0, 0)


@pytest.mark.parametrize(("packed", "octets"), [
    (kernel.INITMSG, 8), (kernel.RTOINFO, 16), (kernel.ASSOCPARAMS, 20), (kernel.PADDRPARAMS, 156), (kernel.SACK_INFO, 12), (kernel.EVENT, 8),
    (kernel.STATUS, 176), (kernel.ASSOC_CHANGE, 12),
])
def test_structures_have_the_kernels_size(packed: struct.Struct, octets: int) -> None:
    assert packed.size == octets


def test_configuration_sets_the_profile_and_asks_for_what_is_needed(fake: FakeSocket) -> None:
    kernel.configure(cast(socket.socket, fake), SctpSettings(profile=SPECIFICATION, outbound_streams=3, inbound_streams=4))
    assert fake.blocking is False
    options = {option: value for level, option, value in fake.options if level == 132}
    assert options[2] == struct.pack("=HHHH", 3, 4, 8, 60000)
    assert options[0] == struct.pack("=iIII", 0, 1000, 60000, 1000)
    assert options[9] == struct.pack("=i128xIHIIIIBx", 0, 30000, 5, 0, 0, 1, 0, 0)
    assert options[3] == options[32] == 1
    events = {struct.unpack("=iHBx", value)[1] for level, option, value in fake.options if option == 127 and isinstance(value, bytes)}
    assert events == {0x8001, 0x8005, 0x8006}


async def test_messages_in_and_out_carry_stream_and_ppid(fake: FakeSocket) -> None:
    end = End(fake)
    fake.say(b"S1 Setup Request", stream=2, ppid=18)
    await settle()
    assert end.heard == [(b"S1 Setup Request", 2, 18)]
    end.association.send(b"S1 Setup Response", stream=1, ppid=18)
    assert fake.sent == [(b"S1 Setup Response", kernel.pack_send_info(1, 18))]


async def test_parts_are_put_together(fake: FakeSocket) -> None:
    end = End(fake)
    fake.say(b"one ", flags=0, ppid=18)
    fake.notify(0x8005)
    fake.say(b"message", ppid=18)
    await settle()
    assert end.heard == [(b"one message", 0, 18)]


async def test_parts_of_a_message_that_the_peer_gave_up_are_forgotten(fake: FakeSocket) -> None:
    end = End(fake)
    fake.say(b"half a ", flags=0)
    fake.notify(0x8006, bytes(16))
    fake.say(b"whole")
    await settle()
    assert end.heard == [(b"whole", 0, 0)]


async def test_a_full_buffer_keeps_messages_until_there_is_room(fake: FakeSocket) -> None:
    end = End(fake)
    fake.has_room = False
    for number in range(3):
        end.association.send(bytes([number]), stream=0, ppid=18)
    assert fake.sent == []
    assert end.association.status()["queued_messages"] == 3
    fake.has_room = True
    await settle()
    assert [data for data, _ in fake.sent] == [b"\0", b"\1", b"\2"]


async def test_status_and_coming_up_tell_the_streams(fake: FakeSocket) -> None:
    end = End(fake)
    assert (end.association.outbound_streams, end.association.inbound_streams) == (8, 7)
    assert end.association.status()["state"] == "ESTABLISHED"
    assert end.association.status()["mtu"] == 1400
    fake.association_change(kernel.COMM_UP, 4, 9)
    await settle()
    assert end.association.outbound_streams == 4
    assert end.association.inbound_streams == 9
    assert end.association.is_open


@pytest.mark.parametrize(("error", "reason"), [
    (errno.ECONNRESET, "aborted by the peer"), (errno.ETIMEDOUT, "no answer from 10.0.0.2:36412"),
])
async def test_losing_the_peer(fake: FakeSocket, error: int, reason: str) -> None:
    end = End(fake)
    fake.error = error
    fake.association_change(kernel.COMM_LOST)
    await settle()
    assert end.heard == [reason]
    with pytest.raises(ConnectionError):
        end.association.send(b"x", stream=0, ppid=18)


async def test_an_error_on_the_socket_ends_the_association(fake: FakeSocket) -> None:
    end = End(fake)
    fake.to_receive.append(ConnectionResetError(errno.ECONNRESET, "reset"))
    fake._wake.send(b"x")
    await settle()
    assert end.heard == ["aborted by the peer"]


async def test_shutdown_by_the_peer(fake: FakeSocket) -> None:
    end = End(fake)
    fake.notify(0x8005, bytes(4))
    fake.association_change(kernel.SHUTDOWN_COMP)
    await settle()
    assert end.heard == ["shut down by the peer"]


async def test_shutdown_of_ones_own(fake: FakeSocket) -> None:
    end = End(fake)
    end.association.shutdown()
    assert fake.shut
    fake.association_change(kernel.SHUTDOWN_COMP)
    await settle()
    assert end.heard == ["shut down"]


async def test_abort_closes_with_linger_zero(fake: FakeSocket) -> None:
    end = End(fake)
    end.association.abort()
    await settle()
    assert (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) in fake.options
    assert end.heard == ["aborted"]


async def test_a_restart_ends_one_association_and_presents_another(fake: FakeSocket) -> None:
    listener = Listener()
    end = End(fake, listener)
    fake.association_change(kernel.RESTART, 5, 6)
    fake.say(b"S1 Setup Request", ppid=18)
    await settle()
    assert end.heard == ["restarted by the peer"]
    (successor,) = listener.presented
    heard: list[bytes] = []
    successor.on_message = lambda data, *_: heard.append(data)
    await settle()
    assert heard == [b"S1 Setup Request"]
    assert successor.outbound_streams == 5


@pytest.mark.parametrize("data", [b"", b"\x01", struct.pack("=HHI", 0x8001, 0, 20), struct.pack("=HHI", 0x9999, 0, 8)])
async def test_notifications_that_are_short_or_unknown_do_nothing(fake: FakeSocket, data: bytes) -> None:
    end = End(fake)
    end.association.notified(data)
    await settle()
    assert end.heard == []
    assert end.association.is_open
