"""One node's frame: configuration, life cycle, metrics, logs, admin API.

A node is a subclass of :class:`Node` with a configuration model derived from :class:`NodeConfig`. ``serve`` runs one with its admin
API; ``epc.lab`` runs several in one process; the node itself cannot tell.
"""

from epc.node.config import Endpoint, NodeConfig, Section
from epc.node.config_file import ConfigError, load_config, parse_config
from epc.node.metrics import NodeMetrics
from epc.node.node import Command, Node, View
from epc.node.serve import serve
from epc.node.session import SessionEnd
from epc.node.tunnel import TUNNELS, TunnelEnd, TunnelName

__all__ = [
    "TUNNELS",
    "Command",
    "ConfigError",
    "Endpoint",
    "Node",
    "NodeConfig",
    "NodeMetrics",
    "Section",
    "SessionEnd",
    "TunnelEnd",
    "TunnelName",
    "View",
    "load_config",
    "parse_config",
    "serve",
]
