"""Both get paid: a settlement between two operators of a running lab."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epc.dataplane.forwarder import UserPlane
from epc.lab.network import Network
from epc.lab.topology import Topology
from epc.node import Node
from epc.ocs import Ocs
from epc.pgw import Pgw
from epc.settlement import LedgerUse, NodeCounters, Octets, Settlement, SettlementConfig, SourceRecord, read_records, settle
from epc.settlement.ledger import read_ledger
from epc.sgw import Sgw
from ran.station import Station


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettlement:
    """A settlement and the record files that it was made from, by node and file name."""

    settlement: Settlement
    records: dict[str, bytes] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """The papers, and the records in a folder ``cdr`` beside them."""
        self.settlement.write(directory)
        for name, octets in self.records.items():
            file = directory / "cdr" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(octets)


async def settle_in_lab(network: Network, topology: Topology, config: SettlementConfig, visited: str | None, home: str | None) -> LabSettlement:
    """Close the records of both operators' gateways and settle. Operators are called as in the topology.

    Raises ``LookupError`` when there is no such agreement, or nothing was charged.
    """
    agreement = config.agreement(visited, home)
    operators = {entry.name: entry.operator for entry in topology.nodes}

    def nodes_of(operator: str) -> list[Node[Any]]:
        return [node for name, node in network.nodes.items() if operators.get(name) == operator]

    files: dict[str, bytes] = {}
    visited_records = _records(nodes_of(agreement.visited), Sgw, files)
    if any(isinstance(node, Pgw) and node.charging is not None for node in nodes_of(agreement.visited)):
        visited_records += _records(nodes_of(agreement.visited), Pgw, files)        # of local breakout
    home_records = _records(nodes_of(agreement.home), Pgw, files)
    imsis = {source.record.served_imsi for source in (*visited_records, *home_records) if source.record.served_imsi}
    ocs: list[LedgerUse] | None = None
    for node in nodes_of(agreement.home):
        if isinstance(node, Ocs):
            ocs = [*(ocs or []), *await read_ledger(node.store, imsis)]
    phones: dict[str, Octets] = {}
    for imsi, octets in phone_counters(network):
        phones[imsi] = phones.get(imsi, Octets()).plus(octets)
    settlement = settle(
        config, agreement, visited_records, home_records, created=datetime.datetime.now(datetime.UTC), ocs=ocs,
        phones=phones, nodes=node_counters(network, topology))
    return LabSettlement(settlement=settlement, records=files)


def _records(nodes: Iterable[Node[Any]], kind: type[Sgw] | type[Pgw], files: dict[str, bytes]) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    charging = False
    for node in nodes:
        if isinstance(node, kind) and node.charging is not None:
            charging = True
            function = node.charging.function
            function.close_records()
            found += read_records(function.closed_files())
            files.update({f"{node.config.name}/{path.name}": path.read_bytes() for path in function.closed_files()})
    if not charging:
        raise LookupError(f"no {kind.kind} of that operator writes charging records: its configuration needs offline_charging")
    return found


def phone_counters(network: Network) -> list[tuple[str, Octets]]:
    """What each phone sent and received."""
    return [
        (phone.imsi, Octets(phone.ue.sent.octets, phone.ue.received.octets))
        for node in network if isinstance(node, Station) for phone in node.phones.values()]


def node_counters(network: Network, topology: Topology) -> list[NodeCounters]:
    """What each node with a user plane forwarded and dropped."""
    operators = {entry.name: entry.operator for entry in topology.nodes}
    found = []
    for name, node in network.nodes.items():
        forwarder: UserPlane | None = getattr(node, "forwarder", None)
        if forwarder is not None:
            statistics = forwarder.statistics()
            found.append(NodeCounters(
                name=name, kind=node.kind, operator=operators.get(name, ""), uplink_octets=statistics.usage.uplink_octets,
                downlink_octets=statistics.usage.downlink_octets,
                drops={reason.value: count for reason, count in statistics.drops.items() if count}))
    return found
