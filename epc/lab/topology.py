"""A topology file: which nodes there are, and each one's configuration.

```yaml
name: attach
nodes:
  hss1: {kind: hss, origin_host: ..., ...}      # the rest of each entry is what the node's own file would contain
  mme1: {kind: mme, ...}
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from epc.lab.kinds import KINDS, config_model
from epc.node import ConfigError, NodeConfig, parse_config
from epc.node.config_file import read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    name: str
    kind: str
    config: NodeConfig
    data: dict[str, Any]        # the configuration as it was written, for the process that will run the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    name: str
    nodes: tuple[NodeEntry, ...]        # in the order in which they should start

    def of_kind(self, kind: str) -> list[NodeEntry]:
        return [entry for entry in self.nodes if entry.kind == kind]


def load_topology(path: Path) -> Topology:
    """Raises :class:`ConfigError` that names file, line and key of everything that is wrong."""
    data, root = read_yaml(path)
    problems = [
        f"{path}:{_line_of(root, key)}: {key}: unknown key; allowed here: name, nodes" for key in data if key not in ("name", "nodes")]
    nodes = data.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise ConfigError([*problems, f"{path}:{_line_of(root, 'nodes')}: nodes: a mapping of node names to configurations is needed"])
    composed = {key.value: value for key, value in root.value}.get("nodes", root)
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
            try:
                config = parse_config(full, config_model(value["kind"]), source=str(path), root=where, within=f"nodes.{name}")
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                entries.append(NodeEntry(name=str(name), kind=value["kind"], config=config, data=full))
    if problems:
        raise ConfigError(problems)
    order = list(KINDS)
    entries.sort(key=lambda entry: order.index(entry.kind))
    return Topology(name=str(data.get("name", path.stem)), nodes=tuple(entries))


def _line_of(root: yaml.MappingNode, key: str) -> int:
    return next((node.start_mark.line + 1 for node, _ in root.value if node.value == str(key)), 1)
