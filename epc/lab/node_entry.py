"""One node of a topology: its name, its kind, its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epc.node import NodeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    name: str
    kind: str
    operator: str = ""          # a name of the topology's operators
    config: NodeConfig
    data: dict[str, Any]        # the configuration as it was written, for the process that will run the node
