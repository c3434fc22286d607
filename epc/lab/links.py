"""The ``links`` of a topology file: which of them a node has to make bad, in words of its own configuration.

Whoever sends impairs: each direction of a link goes to the node at its beginning. Only what comes from an address that is no node's is
impaired where it arrives.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, TypeAdapter, model_validator

from epc.lab.node_entry import NodeEntry
from epc.node import ConfigError, NodeConfig, parse_config
from epc.node.config import ImpairmentConfig, LinkQuality, Section

Interface = Literal["S1-MME", "S1-U", "S11", "S5/S8", "S5/S8-U", "S6a", "Gx", "Gy", "Rx", "S9", "Sxa", "Sxb", "DNS"]

PEER_SECTIONS = frozenset({"admin", "peers", "mmes", "sgws", "pgws", "name_servers", "dns", "apns", "networks", "forward", "zones", "peer"})
"""Keys of configurations whose hosts are other nodes', or nobody's on a reference point."""

USER_PLANE_SECTIONS = frozenset({"s1u", "s5u"})
"""With ``sx: pfcp`` these are at the SGW-U or PGW-U."""

UNSPECIFIED = ("0.0.0.0", "::")
_IMPAIRMENTS = TypeAdapter(tuple[ImpairmentConfig, ...])


class LinkEntry(LinkQuality):
    """Between two ends, in both directions or in one. An end is a node of the topology, or an address."""

    between: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)] | None = None
    sender: str | None = Field(default=None, alias="from")
    receiver: str | None = Field(default=None, alias="to")
    interface: Interface | None = Field(default=None, description="reference point; default: all between the two")

    @model_validator(mode="after")
    def _has_ends(self) -> LinkEntry:
        if (self.between is None) == (self.sender is None and self.receiver is None) or (self.sender is None) != (self.receiver is None):
            raise ValueError("needs either between: [A, B], or from: A and to: B")
        return self

    @property
    def directions(self) -> Iterator[tuple[str, str]]:
        if self.between is not None:
            a, b = self.between
            yield a, b
            yield b, a
        elif self.sender is not None and self.receiver is not None:
            yield self.sender, self.receiver


class _Links(Section):
    links: tuple[LinkEntry, ...]


def with_links(entries: Sequence[NodeEntry], links: object, *, source: str, root: yaml.Node) -> list[NodeEntry]:
    """The entries, each with its part of the links. Raises :class:`ConfigError` that names line and key."""
    wrapped = yaml.MappingNode("tag:yaml.org,2002:map", [(yaml.ScalarNode("tag:yaml.org,2002:str", "links", root.start_mark), root)], root.start_mark)
    parsed = parse_config({"links": links}, _Links, source=source, root=wrapped).links
    found: dict[str, list[ImpairmentConfig]] = {}
    problems = []
    for number, link in enumerate(parsed):
        try:
            for at, impairment in impairments_of(entries, link):
                found.setdefault(at, []).append(impairment)
        except ValueError as error:
            line = root.value[number].start_mark.line + 1 if isinstance(root, yaml.SequenceNode) else root.start_mark.line + 1
            problems.append(f"{source}:{line}: links.{number}: {error}")
    if problems:
        raise ConfigError(problems)
    return [_with(entry, found[entry.name]) if entry.name in found else entry for entry in entries]


def impairments_of(entries: Sequence[NodeEntry], link: LinkEntry) -> Iterator[tuple[str, ImpairmentConfig]]:
    """The name of each node that has to see to ``link``, and what it has to do. Raises ``ValueError``."""
    nodes = {entry.name: entry for entry in entries}
    quality = {name: getattr(link, name) for name in LinkQuality.model_fields}
    for sender, receiver in link.directions:
        at, peers, incoming = _applies(nodes, sender, receiver)
        yield at, ImpairmentConfig(peers=tuple(sorted(peers)), interface=link.interface, incoming=incoming, **quality)


def _with(entry: NodeEntry, impairments: list[ImpairmentConfig]) -> NodeEntry:
    every = (*impairments, *entry.config.impairments)
    written = _IMPAIRMENTS.dump_python(every, mode="json", exclude_defaults=True)
    return dataclasses.replace(entry, config=entry.config.model_copy(update={"impairments": every}), data={**entry.data, "impairments": written})


def _applies(nodes: dict[str, NodeEntry], sender: str, receiver: str) -> tuple[str, set[str], bool]:
    """The node that sees to this direction, the addresses of the other end, and whether packets come in there. Raises ``ValueError``."""
    if sender in nodes:
        return sender, _addresses(nodes, receiver), False
    addresses = _addresses(nodes, sender)
    if receiver not in nodes:
        raise ValueError(f"neither {sender} nor {receiver} is a node; there are {', '.join(nodes)}")
    return receiver, addresses, True


def _addresses(nodes: dict[str, NodeEntry], end: str) -> set[str]:
    if end in nodes:
        own = own_addresses(nodes[end].config)
        if not own:
            raise ValueError(f"{end} has no address of its own in its configuration: others cannot be told which packets go there")
        return own
    try:
        return {str(ipaddress.ip_address(end))}
    except ValueError:
        raise ValueError(f"{end!r} is neither a node nor an address; there are {', '.join(nodes)}") from None


def own_addresses(config: NodeConfig) -> set[str]:
    """The addresses that a node uses on its reference points, as its configuration names them."""
    found: set[str] = set()
    _collect(config, found)
    return found - set(UNSPECIFIED)


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, BaseModel):
        others = PEER_SECTIONS | USER_PLANE_SECTIONS if getattr(value, "sx", None) == "pfcp" else PEER_SECTIONS
        for name in type(value).model_fields:
            inner = getattr(value, name)
            if isinstance(inner, str):
                if name == "host" or name.endswith("_host"):
                    found.update(_as_address(inner))
            elif name not in others:
                _collect(inner, found)
    elif isinstance(value, list | tuple):
        for each in value:
            _collect(each, found)


def _as_address(text: str) -> Iterator[str]:
    try:
        yield str(ipaddress.ip_address(text))
    except ValueError:
        return              # a Diameter identity
