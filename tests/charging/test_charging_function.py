"""The charging function with very many bearers, and with a disk that is full for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

import epc.charging.store
from epc.charging import Conditions, OfflineCharging, OfflineChargingFunction, ServiceKey, Volume
from epc.node import Node, NodeConfig
from epc.transport.memory import MemoryNetwork
from epc.wire.cdr import CauseForRecClosing, ServingNodeType, SgwRecord, decode, split

pytestmark = pytest.mark.virtual_clock
CONDITIONS = Conditions(serving_node=IPv4Address("127.0.1.16"), serving_node_type=ServingNodeType.MME)


class Gateway(Node[NodeConfig]):
    kind = "sgw"
    config_model = NodeConfig


def gateway(directory: Path, **settings: Any) -> OfflineChargingFunction:
    loop = asyncio.get_running_loop()
    node = Gateway(NodeConfig(name="sgw1"), MemoryNetwork().transport("sgw1"), clock=lambda: 1_790_000_000.0 + loop.time(), entropy=random.Random(1))
    return OfflineChargingFunction(node, OfflineCharging(directory=directory, **settings), "127.0.1.15")


class Traffic:
    """A bearer that carries a packet of 100 octets each time somebody looks."""

    def __init__(self, function: OfflineChargingFunction, charging_id: int) -> None:
        self.looks: list[float] = []
        self.bearer = function.open(
            lambda opened: SgwRecord(
                served_imsi="001010000000001", charging_id=charging_id, sgw_address=IPv4Address("127.0.1.15"), serving_node_address=(),
                serving_node_type=(), record_opening_time=opened, start_time=opened, duration_s=0,
                cause_for_rec_closing=CauseForRecClosing.ABNORMAL_RELEASE, node_id="sgw1"),
            CONDITIONS, read=self._read, granted=lambda: None)

    def _read(self) -> Iterable[tuple[ServiceKey, Volume]]:
        self.looks.append(asyncio.get_running_loop().time())
        return [(ServiceKey(), Volume(100, 0))]


def records(directory: Path) -> list[SgwRecord]:
    return [decode(octets) for path in sorted(directory.glob("*.cdr")) for _, octets in split(path.read_bytes())]  # type: ignore[misc]


async def test_very_many_bearers_are_looked_at_some_at_a_time(tmp_path: Path) -> None:
    function = gateway(tmp_path, volumes_every_s=10)
    function.start()
    bearers = [Traffic(function, number) for number in range(3000)]
    await asyncio.sleep(28)
    moments: dict[float, int] = {}
    for bearer in bearers:
        assert len(bearer.looks) == 2
        assert bearer.looks[1] - bearer.looks[0] == pytest.approx(10)
        for moment in bearer.looks:
            moments[moment] = moments.get(moment, 0) + 1
    assert max(moments.values()) == 200
    function.stop()
    found = records(tmp_path)
    assert len(found) == 3000
    assert all(record.uplink_octets == 100 * len(bearer.looks) for record, bearer in zip(
        sorted(found, key=lambda each: each.charging_id), bearers, strict=True))


async def test_users_are_served_and_records_wait_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = gateway(tmp_path, volumes_every_s=1)
    function.start()
    bearers = [Traffic(function, number) for number in range(3)]
    real = epc.charging.store.os.write

    def full(descriptor: int, octets: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(epc.charging.store.os, "write", full)
    function.close(bearers[0].bearer, CauseForRecClosing.NORMAL_RELEASE)
    late = Traffic(function, 3)
    await asyncio.sleep(3.5)
    function.close(bearers[1].bearer, CauseForRecClosing.NORMAL_RELEASE)
    assert records(tmp_path) == []
    monkeypatch.setattr(epc.charging.store.os, "write", real)
    await asyncio.sleep(1.5)
    function.close(late.bearer, CauseForRecClosing.NORMAL_RELEASE)
    function.stop()
    found = records(tmp_path)
    assert [record.local_sequence_number for record in found] == [1, 2, 3, 4]
    assert [record.charging_id for record in found] == [0, 1, 3, 2]
    assert [record.uplink_octets for record in found] == [100 * len(bearer.looks) for bearer in (bearers[0], bearers[1], late, bearers[2])]


async def test_a_change_closes_before_what_comes_after(tmp_path: Path) -> None:
    function = gateway(tmp_path, partial={"octets": 250})
    function.start()
    traffic = Traffic(function, 1)
    function.change(traffic.bearer, Conditions(
        serving_node=IPv4Address("127.0.1.99"), serving_node_type=ServingNodeType.MME))
    function.volume_reached(traffic.bearer)         # of the former record: this one is younger
    function.volume_reached(traffic.bearer)
    function.volume_reached(traffic.bearer)
    function.close(traffic.bearer, CauseForRecClosing.NORMAL_RELEASE)
    function.volume_reached(traffic.bearer)         # late
    function.stop()
    assert [(record.cause_for_rec_closing.name, record.uplink_octets, str(record.serving_node_address[0])) for record in records(tmp_path)] == [  # type: ignore[union-attr]
        ("SERVING_NODE_CHANGE", 100, "127.0.1.16"), ("VOLUME_LIMIT", 300, "127.0.1.99"), ("NORMAL_RELEASE", 100, "127.0.1.99")]
