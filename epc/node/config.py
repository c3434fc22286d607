"""Configuration that every node has."""

from __future__ import annotations

import datetime
import ipaddress
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from epc.transport.impairment import Impairment, Impairments, Link
from epc.transport.interface import Address
from epc.transport.sctp.settings import PROFILES, Engine, SctpSettings, Wire


class Section(BaseModel):
    """Base of every configuration model: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _host(text: str) -> str:
    """An IP address, or a name that the resolver knows (as container networks give to services)."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        labels = text.rstrip(".").split(".")
        if all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit():
            return text
        raise ValueError("neither an IP address nor a host name") from None


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class HostField:
    """Marks a field that holds a host, so that names can be resolved before a node sees them."""


def _quoted(value: object) -> object:
    """YAML reads 001010000000001 as an octal number."""
    if isinstance(value, int):
        raise ValueError("must be in quotes, for these are digits and no number")
    return value


def _octets(value: object) -> object:
    """``10M`` is ten million octets."""
    match = _VOLUME.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError("a volume is a number of octets with k, M or G")
    return round(float(match[1]) * _FACTORS[match[2]]) if match else value


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        if name != "UTC":
            raise ValueError(f"this host knows no time zone {name}") from None
    return name


def zone_named(name: str) -> datetime.tzinfo:
    """The time zone that a :data:`TimeZoneName` means; UTC needs no database of zones."""
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


_VOLUME = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_VOLUME_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_VOLUME.pattern}$"}]}

Octets = Annotated[int, BeforeValidator(_octets), Field(ge=1), WithJsonSchema(_VOLUME_SCHEMA)]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]
Host = Annotated[str, AfterValidator(_host), HostField()]
Port = Annotated[int, Field(ge=1, le=65535)]
Digits = Annotated[str, BeforeValidator(_quoted)]
PlmnDigits = Annotated[Digits, StringConstraints(pattern=r"^\d{5,6}$")]
ImsiDigits = Annotated[Digits, StringConstraints(pattern=r"^\d{6,15}$")]
Seconds = Annotated[float, Field(gt=0)]
Hours = Annotated[Digits, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]     # 22:00-06:00

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:bit/s|bps)?")


def _bit_rate(value: object) -> object:
    """``50M`` is 50 Mbit/s."""
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError("a bit rate is a number with k, M or G")
    return round(float(match[1]) * _FACTORS[match[2]]) if match else value


BitRate = Annotated[int, BeforeValidator(_bit_rate), Field(ge=0, le=0xFFFFFFFF)]


class Endpoint(Section):
    """Where a server listens or a peer is found."""

    host: Host
    port: Port

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class AdminConfig(Section):
    """The HTTP side of a node: /metrics, /healthz, /readyz and the state that ``epclab ctl`` shows. ``port: 0`` picks a free one."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9090


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class SctpConfig(Section):
    """SCTP: ``wire`` must be what the peers use, ``engine`` is this host's own choice."""

    wire: Literal["both", "ip", "udp"] = "both"
    engine: Literal["auto", "kernel", "usrsctp"] = "auto"
    profile: Literal["lab", "3gpp"] = "lab"
    udp_port: Port = 9899

    def settings(self) -> SctpSettings:
        """For the transport. Servers listen on both wires when ``wire`` is both; associations are opened on UDP unless it is ip."""
        return SctpSettings(
            wire=Wire.IP if self.wire == "ip" else Wire.UDP, engine=Engine(self.engine), profile=PROFILES[self.profile],
            listen_wires=None if self.wire == "both" else (Wire(self.wire),), udp_port=self.udp_port)


def _share(value: object) -> object:
    """A share of packets as people write it: 1%, or 0.01."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
IpAddress = Annotated[str, AfterValidator(_address)]
Milliseconds = Annotated[float, Field(ge=0, le=60_000)]


class LinkQuality(Section):
    """What goes wrong on a link. Shares are percentages ("1%") or fractions (0.01)."""

    delay_ms: Milliseconds = 0
    jitter_ms: Milliseconds = Field(default=0, description="added to the delay, evenly distributed between 0 and this")
    loss: Share = Field(default=0.0, description="share of packets lost; TCP connections are delayed by a retransmission instead")
    duplicate: Share = Field(default=0.0, description="share of datagrams that arrive twice")
    reorder: Share = Field(default=0.0, description="share of datagrams held back for reorder_delay_ms, so that later ones overtake them")
    reorder_delay_ms: Milliseconds = 5

    @property
    def link(self) -> Link:
        return Link(
            delay_s=self.delay_ms / 1000, jitter_s=self.jitter_ms / 1000, loss=self.loss, duplication=self.duplicate, reordering=self.reorder,
            reordering_delay_s=self.reorder_delay_ms / 1000)


class ImpairmentConfig(LinkQuality):
    """Packets that this node sends to certain peers meet a bad link. Of several entries the first that fits counts."""

    peers: tuple[IpAddress, ...] = Field(default=(), description="addresses of the other end; default: any")
    interface: str | None = Field(default=None, description="reference point, as captures name it: S1-MME, S1-U, S11, S5/S8, ...; default: any")
    incoming: bool = Field(default=False, description="UDP packets that come in, for peers that are no nodes of ours")

    @property
    def impairment(self) -> Impairment:
        return Impairment(link=self.link, peers=frozenset(self.peers), interface=self.interface, incoming=self.incoming)


class NodeConfig(Section):
    """What every node's file may contain."""

    kind: str | None = Field(default=None, description="mme, hss, sgw, ...; needed where the context does not say it")
    name: str = Field(min_length=1, max_length=150, description="the node's name in logs, captures and ladders")
    admin: AdminConfig = AdminConfig()
    log: LogConfig = LogConfig()
    sctp: SctpConfig = SctpConfig()
    capture: Path | None = Field(default=None, description="write every packet of this node to this pcapng file")
    state_directory: Path | None = Field(default=None, description="where restart counters and databases live; default: nowhere, forgotten at exit")
    impairments: tuple[ImpairmentConfig, ...] = Field(default=(), description="bad links on purpose; `links` of a topology file are spread to here")

    def link_impairments(self) -> Impairments:
        """For the transport."""
        return Impairments(self.name, [each.impairment for each in self.impairments])
