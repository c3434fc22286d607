"""A topology file: which nodes there are, and each one's configuration.

```yaml
name: attach
operators: {visited: "Barcelona 214/07", home: "Home 001/01"}       # where there are several: name to title, as they stand in the ladder
nodes:
  hss1: {kind: hss, operator: home, origin_host: ..., ...}      # the rest of each entry is what the node's own file would contain
  mme1: {kind: mme, operator: visited, ...}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from epc.lab.kinds import KINDS, config_model
from epc.lab.links import with_links
from epc.lab.node_entry import NodeEntry
from epc.node import ConfigError, parse_config
from epc.node.config_file import read_yaml

KEYS = ("name", "operators", "nodes", "links")

__all__ = ["NodeEntry", "Topology", "load_topology"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    name: str
    operators: Mapping[str, str] = field(default_factory=dict)         # name to title
    nodes: tuple[NodeEntry, ...]        # in the order in which they should start

    def of_kind(self, kind: str) -> list[NodeEntry]:
        return [entry for entry in self.nodes if entry.kind == kind]


def load_topology(path: Path) -> Topology:
    """Raises :class:`ConfigError` that names file, line and key of everything that is wrong."""
    data, root = read_yaml(path)
    problems = [
        f"{path}:{_line_of(root, key)}: {key}: unknown key; allowed here: {', '.join(KEYS)}" for key in data if key not in KEYS]
    operators = data.get("operators") or {}
    if not isinstance(operators, dict) or not all(isinstance(title, str) for title in operators.values()):
        raise ConfigError([*problems, f"{path}:{_line_of(root, 'operators')}: operators: a mapping of names to titles is needed"])
    nodes = data.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise ConfigError([*problems, f"{path}:{_line_of(root, 'nodes')}: nodes: a mapping of node names to configurations is needed"])
    if not _may_bind_every_port():
        nodes = _with_ports_for_everybody(nodes)
    parts = {key.value: value for key, value in root.value}
    composed = parts.get("nodes", root)
    entries = []
    for name, value in nodes.items():
        line, where = next(
            ((key.start_mark.line + 1, value_node) for key, value_node in composed.value if key.value == str(name)), (_line_of(root, "nodes"), root))
        if not isinstance(value, dict):
            problems.append(f"{path}:{line}: nodes.{name}: a mapping is needed")
        elif str(value.get("kind")) not in KINDS:
            wrong = f"must be one of {', '.join(KINDS)}, not {value['kind']!r}" if "kind" in value else f"is missing; one of {', '.join(KINDS)}"
            problems.append(f"{path}:{line}: nodes.{name}.kind: {wrong}")
        else:
            full = {"name": str(name), **value}
            operator = str(full.pop("operator", ""))
            if operator and operator not in operators:
                problems.append(f"{path}:{line}: nodes.{name}.operator: must be one of {', '.join(operators)}, not {operator!r}")
            try:
                config = parse_config(full, config_model(value["kind"]), source=str(path), root=where, within=f"nodes.{name}")
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                entries.append(NodeEntry(name=str(name), kind=value["kind"], operator=operator, config=config, data=full))
    if problems:
        raise ConfigError(problems)
    if "links" in data:
        entries = with_links(entries, data["links"], source=str(path), root=parts["links"])
    order = list(KINDS)
    entries.sort(key=lambda entry: order.index(entry.kind))
    return Topology(name=str(data.get("name", path.stem)), operators={str(key): value for key, value in operators.items()}, nodes=tuple(entries))


_FIRST_PORT_FOR_EVERYBODY = 1024
_RAISED_BY = 10_000
_CAP_NET_BIND_SERVICE = 10


def _may_bind_every_port() -> bool:
    """Whether this process may bind ports such as 53; what cannot be found out is taken for a yes."""
    try:
        if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < _FIRST_PORT_FOR_EVERYBODY // 20:
            return True
        capabilities = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    except (OSError, ValueError, StopIteration):
        return True
    return bool(int(capabilities.split()[1], 16) >> _CAP_NET_BIND_SERVICE & 1)


def _with_ports_for_everybody(value: Any) -> Any:
    """The same topology with every ``port`` below 1024 raised by 10000, at servers and at those who ask them: 53 becomes 10053."""
    if isinstance(value, dict):
        return {key: each + _RAISED_BY if key == "port" and isinstance(each, int) and 0 < each < _FIRST_PORT_FOR_EVERYBODY
                else _with_ports_for_everybody(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_ports_for_everybody(each) for each in value]
    return value


def _line_of(root: yaml.MappingNode, key: str) -> int:
    return next((node.start_mark.line + 1 for node, _ in root.value if node.value == str(key)), 1)
