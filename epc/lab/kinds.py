"""The kinds of node, found by name and imported only when asked for: a process that runs one node loads no other."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from epc.node import ConfigError, Node, NodeConfig


class Kind(NamedTuple):
    module: str
    node: str
    config: str
    what: str


KINDS: dict[str, Kind] = {
    "dns": Kind("epc.dns", "Dns", "DnsConfig", "DNS server: gateways by APN and tracking area, its own zones and the way to other operators'"),
    "dra": Kind("epc.dra", "Dra", "DraConfig", "Diameter agent: relay and proxy between nodes and between operators"),
    "hss": Kind("epc.hss", "Hss", "HssConfig", "Home Subscriber Server: subscribers, authentication vectors (S6a)"),
    "pcrf": Kind("epc.pcrf", "Pcrf", "PcrfConfig", "Policy and Charging Rules Function (Gx, Rx, S9)"),
    "ocs": Kind("epc.ocs", "Ocs", "OcsConfig", "Online Charging System: accounts, tariff, quotas (Gy)"),
    "sgwu": Kind("epc.sgwu", "Sgwu", "SgwuConfig", "Serving Gateway, user plane (Sxa, S1-U, S5/S8)"),
    "pgwu": Kind("epc.pgwu", "Pgwu", "PgwuConfig", "PDN Gateway, user plane (Sxb, S5/S8, SGi)"),
    "pgw": Kind("epc.pgw", "Pgw", "PgwConfig", "PDN Gateway: addresses, policy enforcement, SGi (S5/S8, Gx)"),
    "sgw": Kind("epc.sgw", "Sgw", "SgwConfig", "Serving Gateway (S11, S5/S8, S1-U)"),
    "mme": Kind("epc.mme", "Mme", "MmeConfig", "Mobility Management Entity (S1-MME, S6a, S11)"),
    "af": Kind("epc.af", "Af", "AfConfig", "Application function: asks the PCRF for bearers (Rx)"),
    "enb": Kind("ran.station", "Station", "StationConfig", "eNodeB with its phones (S1-MME, S1-U)"),
}


def kind_named(name: str) -> Kind:
    try:
        return KINDS[name]
    except KeyError:
        raise ConfigError([f"{name!r} is no kind of node; there are {', '.join(KINDS)}"]) from None


def default_config(name: str) -> str:
    """Where a node's configuration is when nobody says where: containers have it there."""
    return f"/etc/epclab/{name}.yaml"


def config_model(name: str) -> type[NodeConfig]:
    kind = kind_named(name)
    model: type[NodeConfig] = getattr(importlib.import_module(kind.module), kind.config)
    return model


def node_class(name: str) -> type[Node[Any]]:
    kind = kind_named(name)
    found: type[Node[Any]] = getattr(importlib.import_module(kind.module), kind.node)
    return found
