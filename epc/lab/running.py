"""Finding the nodes of a lab that runs. Loads next to nothing: commands that look into a node start as fast as the interpreter lets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

STATE_FILE = "processes.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProcess:
    """What others need to find a running node."""

    name: str
    kind: str
    pid: int
    admin_host: str
    admin_port: int
    namespace_of: int = 0   # a process whose network namespace must be entered before the address means anything; 0: none

    @property
    def admin(self) -> str:
        """Its admin API, HOST:PORT."""
        return f"[{self.admin_host}]:{self.admin_port}" if ":" in self.admin_host else f"{self.admin_host}:{self.admin_port}"


def read_state(directory: Path) -> Mapping[str, NodeProcess]:
    """The nodes that ``epclab lab up`` runs from ``directory``; empty when it does not run."""
    try:
        state = orjson.loads((directory / STATE_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    nodes = {each["name"]: NodeProcess(**each) for each in state["nodes"]}
    return {name: node for name, node in nodes.items() if runs_epclab(node.pid)}


def runs_epclab(pid: int) -> bool:
    """Is the process one of ours and alive? Its number may have gone to another program, and one that has ended has no command line."""
    try:
        return b"epc.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
