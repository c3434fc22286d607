"""Loads compiled BPF programs: reads the ELF object, creates its maps, puts their descriptors into the instructions.

There is no compiler, no libbpf and no BTF in it, because the object's map definitions are plain numbers in section ``maps``
(``struct map_definition`` in ``gtpu.bpf.c``) and it calls no functions but the kernel's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

from epc.dataplane.bpf.kernel import Map, ProgramType, load_program

GTPU, BENCH = "gtpu.bpf.o", "bench.bpf.o"

_MAPS, _LICENSE = "maps", "license"
_PROGRAM_TYPES = {"xdp": ProgramType.XDP, "tc": ProgramType.SCHED_CLS}        # by section
_PSEUDO_MAP_DESCRIPTOR = 1          # the source register of a load instruction whose constant is a map (BPF_PSEUDO_MAP_FD)
_LOAD_CONSTANT = 0x18               # BPF_LD | BPF_DW | BPF_IMM
_SYMBOLS, _RELOCATIONS = 2, 9       # section types
_OBJECT, _FUNCTION = 1, 2           # symbol types
_MACHINE_BPF = 247
_map_definition = struct.Struct("=5I")


class ObjectError(ValueError):
    """Not an object that this loader can load."""


class _Section(NamedTuple):
    name: str
    type: int
    link: int
    info: int
    content: bytes


class _Symbol(NamedTuple):
    name: str
    type: int
    section: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    type: ProgramType
    instructions: bytes
    maps: Mapping[int, str]         # by offset of the instruction that loads it


class ObjectFile:
    """A compiled object, read."""

    def __init__(self, octets: bytes) -> None:
        try:
            self._read(octets)
        except (struct.error, IndexError, KeyError, UnicodeDecodeError, ValueError) as error:
            raise ObjectError(f"not a BPF object that can be loaded: {error}") from error

    @classmethod
    def shipped(cls, name: str = GTPU) -> ObjectFile:
        """One in this package; raises ``FileNotFoundError`` when they were left out of the build."""
        return cls((resources.files(__package__) / name).read_bytes())

    def check(self, value_octets: Mapping[str, int]) -> None:
        """Raises :class:`ObjectError` unless its maps have values of these sizes, as those who read and write them believe."""
        if any(name not in self.maps or self.maps[name][2] != octets for name, octets in value_octets.items()):
            raise ObjectError("built from another source than this (python -m epc.dataplane.bpf.build builds it again)")

    def _read(self, octets: bytes) -> None:
        if octets[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", octets, 18)[0] != _MACHINE_BPF:
            raise ValueError("not a 64-bit little-endian ELF file for BPF")
        sections = _sections(octets)
        symbols = _symbols(sections)
        by_name = {section.name: index for index, section in enumerate(sections)}
        self.license = sections[by_name[_LICENSE]].content.rstrip(b"\0").decode("ascii")
        self.maps: dict[str, tuple[int, int, int, int, int]] = {}
        for symbol in symbols:
            if symbol.type == _OBJECT and symbol.section == by_name[_MAPS]:
                kind, key_octets, value_octets, entries, flags = _map_definition.unpack_from(sections[symbol.section].content, symbol.value)
                self.maps[symbol.name] = (kind, key_octets, value_octets, entries, flags)
        self.programs: dict[str, _Program] = {}
        for symbol in symbols:
            section = sections[symbol.section] if symbol.section < len(sections) else None
            if symbol.type == _FUNCTION and section is not None and section.name in _PROGRAM_TYPES:
                self.programs[symbol.name] = _Program(
                    symbol.name, _PROGRAM_TYPES[section.name], section.content[symbol.value:symbol.value + symbol.size],
                    self._maps_used(sections, symbols, symbol),
                )

    def _maps_used(self, sections: list[_Section], symbols: list[_Symbol], program: _Symbol) -> dict[int, str]:
        used: dict[int, str] = {}
        for section in sections:
            if section.type != _RELOCATIONS or section.info != program.section:
                continue
            for offset, info in struct.iter_unpack("<QQ", section.content):
                if program.value <= offset < program.value + program.size:
                    name = symbols[info >> 32].name
                    if name not in self.maps or sections[program.section].content[offset] != _LOAD_CONSTANT:
                        raise ValueError(f"{program.name} refers to {name!r}, which is no map")
                    used[offset - program.value] = name
        return used


def _sections(octets: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", octets, 40)
    size, count, names_index = struct.unpack_from("<HHH", octets, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", octets, table + index * size) for index in range(count)]
    contents = [octets[header[4]:header[4] + header[5]] for header in headers]
    return [
        _Section(_text(contents[names_index], header[0]), header[1], header[6], header[7], content)
        for header, content in zip(headers, contents, strict=True)
    ]


def _symbols(sections: list[_Section]) -> list[_Symbol]:
    (table,) = (section for section in sections if section.type == _SYMBOLS)
    names = sections[table.link].content
    return [
        _Symbol(_text(names, name), info & 15, section, value, size)
        for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", table.content)
    ]


def _text(table: bytes, at: int) -> str:
    return table[at:table.index(b"\0", at)].decode("ascii")


class LoadedObject:
    """Programs and maps in the kernel. They go with :meth:`close`, or with this process."""

    def __init__(self, parsed: ObjectFile, entries: Mapping[str, int]) -> None:
        """``entries`` says how many entries the maps get whose size the object leaves open. Raises ``OSError``."""
        self.maps: dict[str, Map] = {}
        self._parsed = parsed
        self._programs: dict[str, int] = {}
        try:
            for name, (kind, key_octets, value_octets, count, flags) in parsed.maps.items():
                self.maps[name] = Map(name, kind, key_octets, value_octets, count or entries[name], flags)
        except BaseException:
            self.close()
            raise

    def program(self, name: str) -> int:
        """Its descriptor. It is loaded when it is first asked for, which takes the verifier some time. Raises ``OSError``."""
        loaded = self._programs.get(name)
        if loaded is None:
            program = self._parsed.programs[name]
            loaded = self._programs[name] = load_program(program.type, name, self._relocated(program), self._parsed.license)
        return loaded

    def _relocated(self, program: _Program) -> bytes:
        code = bytearray(program.instructions)
        for offset, name in program.maps.items():
            code[offset + 1] = code[offset + 1] & 0x0F | _PSEUDO_MAP_DESCRIPTOR << 4
            struct.pack_into("<i", code, offset + 4, self.maps[name].descriptor)
        return bytes(code)

    def close(self) -> None:
        for descriptor in self._programs.values():
            os.close(descriptor)
        self._programs.clear()
        for each in self.maps.values():
            each.close()
        self.maps.clear()
