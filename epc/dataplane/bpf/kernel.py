"""The bpf(2) system call, as far as the back end uses it: maps, programs, links (linux/bpf.h, ``union bpf_attr``)."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

_MACHINES = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}      # the number of the system call
_ATTRIBUTE_OCTETS = 128         # longer than any attribute used here; the kernel wants the rest to be zero
_LOG_OCTETS = 1 << 20
_QUOTED_LOG_OCTETS = 2000

_libc = ctypes.CDLL(None, use_errno=True)
_create_map = struct.Struct("=IIIII8x16s").pack
_element = struct.Struct("=I4xQQQ").pack
_load_program = struct.Struct("=IIQQIIQII16s").pack


class _Command(IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    LINK_CREATE = 28


class MapType(IntEnum):
    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    RINGBUF = 27


class ProgramType(IntEnum):
    SCHED_CLS = 3
    XDP = 6


class AttachType(IntEnum):
    XDP = 37
    TCX_INGRESS = 46


XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE = 2, 4


def _bpf(command: _Command, attributes: bytes) -> int:
    number = _MACHINES.get(platform.machine())
    if number is None:
        raise OSError(f"the bpf system call's number on {platform.machine()} is not known here")
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_OCTETS)
    result: int = _libc.syscall(number, int(command), buffer, _ATTRIBUTE_OCTETS)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf {command.name}: {os.strerror(error)}")
    return result


def possible_cpus() -> int:
    """How many values a lookup in a per-CPU map returns."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(ranges.replace(",", "-").split("-")[-1]) + 1


class Map:
    """A map of the kernel's. It goes when it is closed and no program uses it."""

    def __init__(self, name: str, kind: int, key_octets: int, value_octets: int, entries: int, flags: int = 0) -> None:
        self.name = name
        self.entries = entries
        self.descriptor = _bpf(_Command.MAP_CREATE, _create_map(kind, key_octets, value_octets, entries, flags, name.encode()[:15]))
        os.set_inheritable(self.descriptor, False)
        self._value_octets = value_octets
        read_octets = (value_octets + 7) // 8 * 8 * possible_cpus() if kind == MapType.PERCPU_ARRAY else value_octets
        self._key = ctypes.create_string_buffer(max(key_octets, 1))
        self._value = ctypes.create_string_buffer(max(read_octets, 1))
        self._attributes = _element(self.descriptor, ctypes.addressof(self._key), ctypes.addressof(self._value), 0)
        self._key_attributes = _element(self.descriptor, ctypes.addressof(self._key), 0, 0)

    def update(self, key: bytes, value: bytes) -> None:
        """Raises ``OSError`` (E2BIG when the map is full)."""
        self._key.raw = key
        self._value.raw = value
        _bpf(_Command.MAP_UPDATE_ELEM, self._attributes)

    def lookup(self, key: bytes) -> bytes | None:
        """A per-CPU map returns each CPU's value, one after another."""
        if self.descriptor < 0:
            return None         # closed: a counter may be asked later
        self._key.raw = key
        try:
            _bpf(_Command.MAP_LOOKUP_ELEM, self._attributes)
        except FileNotFoundError:
            return None
        return self._value.raw

    def delete(self, key: bytes) -> None:
        self._key.raw = key
        _bpf(_Command.MAP_DELETE_ELEM, self._key_attributes)

    def keys(self) -> list[bytes]:
        """Of a hash: what is in it."""
        found: list[bytes] = []
        following = ctypes.create_string_buffer(len(self._key))
        at = 0
        while True:
            try:
                _bpf(_Command.MAP_GET_NEXT_KEY, _element(self.descriptor, at, ctypes.addressof(following), 0))
            except FileNotFoundError:
                return found
            found.append(following.raw)
            self._key.raw = following.raw
            at = ctypes.addressof(self._key)

    def clear_value(self, key: bytes) -> None:
        """All zeros, on every CPU."""
        self.update(key, bytes(len(self._value)))

    def shared_memory(self) -> mmap.mmap:
        """An array's values (made with BPF_F_MMAPABLE), one after another at multiples of 8 octets."""
        octets = (self._value_octets + 7) // 8 * 8 * self.entries
        return mmap.mmap(self.descriptor, (octets + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def load_program(kind: ProgramType, name: str, instructions: bytes, license_text: str) -> int:
    """A program's descriptor. Raises ``OSError``, with the end of the verifier's log when it was the verifier that refused."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms = ctypes.create_string_buffer(license_text.encode())

    def load(level: int, log: ctypes.Array[ctypes.c_char] | None) -> int:
        return _bpf(_Command.PROG_LOAD, _load_program(
            kind, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(terms), level, 0 if log is None else len(log),
            0 if log is None else ctypes.addressof(log), 0, 0, name.encode()[:15],
        ))

    try:
        return load(0, None)
    except OSError as refused:
        error = refused
    log = ctypes.create_string_buffer(_LOG_OCTETS)
    try:
        return load(1, log)
    except OSError:
        text = log.value.decode("utf-8", "replace")[-_QUOTED_LOG_OCTETS:]
        raise OSError(error.errno, f"{name}: {error.strerror}" + (f"; the verifier says: {text}" if text else "")) from error


def attach(program: int, ifindex: int, kind: AttachType, flags: int = 0) -> int:
    """A link's descriptor: the program leaves the device when that closes, however this process ends.

    ``ifindex`` is looked up in the calling thread's network namespace.
    """
    return _bpf(_Command.LINK_CREATE, struct.pack("=IIII", program, ifindex, kind, flags))


_TEST_RUN = struct.Struct("=IIIIQQIIIIQQIII")
_LIVE_FRAMES, _FRAMES_A_BATCH = 2, 64


def run_live(program: int, frame: bytes, frames: int) -> None:
    """Run an XDP program on that many frames, and do with them what it says (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18)."""
    given = ctypes.create_string_buffer(frame, len(frame))
    _bpf(_Command.PROG_TEST_RUN, _TEST_RUN.pack(
        program, 0, len(frame), 0, ctypes.addressof(given), 0, frames, 0, 0, 0, 0, 0, _LIVE_FRAMES, 0, _FRAMES_A_BATCH,
    ))


class RingBuffer:
    """The reader's end of a ring buffer map. Its descriptor becomes readable when there is something."""

    def __init__(self, ring: Map) -> None:
        self.descriptor = ring.descriptor
        self._mask = ring.entries - 1
        self._consumer = mmap.mmap(ring.descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The data pages are mapped twice in a row, so that no record is ever torn.
        self._producer = mmap.mmap(ring.descriptor, mmap.PAGESIZE + 2 * ring.entries, mmap.MAP_SHARED, mmap.PROT_READ, offset=mmap.PAGESIZE)

    def drain(self, receive: Callable[[bytes], None]) -> None:
        position: int = struct.unpack_from("=Q", self._consumer)[0]
        end: int = struct.unpack_from("=Q", self._producer)[0]
        while position < end:
            at = mmap.PAGESIZE + (position & self._mask)
            header: int = struct.unpack_from("=I", self._producer, at)[0]
            if header & 0x80000000:         # BPF_RINGBUF_BUSY_BIT: still being written
                break
            octets = header & 0x3FFFFFFF
            record = None if header & 0x40000000 else self._producer[at + 8:at + 8 + octets]
            position += (octets + 8 + 7) & ~7
            struct.pack_into("=Q", self._consumer, 0, position)
            if record is not None:
                receive(record)

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()
