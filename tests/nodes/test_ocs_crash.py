"""The OCS's books when its process is killed, and on a database that several connections use at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from epc.node import parse_config
from epc.ocs import Ocs, OcsConfig
from epc.ocs.store import Books, open_store
from epc.peer.diameter import LocalIdentity
from epc.peer.timer import Timer, TimerExpired
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address, Transport
from epc.transport.memory import MemoryNetwork
from epc.transport.sockets import SocketTransport
from epc.wire.diameter import GY_APPLICATION, gy
from epc.wire.diameter.charging import MultipleServicesCreditControl, RequestedServiceUnit, UsedServiceUnit
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.gx import CcRequestType

pytestmark = [pytest.mark.real_time]

HOST, ALICE, MB = "127.0.0.10", "001010000000001", 1_000_000
PATIENCE = Timer("Tx", 1.0)

CONFIG = """
name: ocs1
origin_host: ocs.lab
origin_realm: lab
admin: {{enabled: false}}
log: {{level: error}}
gy: {{listen: [{{host: {host}, port: {port}}}]}}
state_directory: {directory}
accounts: [{{imsi: "001010000000001", balance: 1000}}]
tariff: {{rates: [{{name: all, price_per_mb: 1}}], quota: {{octets: 5M}}}}
"""


def gateway(transport: Transport, address: Address) -> DiameterNode:
    return DiameterNode(
        transport, LocalIdentity(origin_host="pgw.lab", origin_realm="lab", applications=(GY_APPLICATION,)), interface="Gy",
        entropy=random.Random(1), clock=time.time, peers=[PeerConfig(address=address)])


def request(session: str, kind: CcRequestType, number: int, octets: int = 0) -> gy.CreditControlRequest:
    used = (UsedServiceUnit(cc_total_octets=octets),) if octets else ()
    identity = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=ALICE)
    return gy.CreditControlRequest(
        session_id=session, origin_host="pgw.lab", origin_realm="lab", destination_realm="lab", cc_request_type=kind, cc_request_number=number,
        subscription_id=(identity,) if kind is CcRequestType.INITIAL_REQUEST else (),
        multiple_services_credit_control=(MultipleServicesCreditControl(
            used_service_unit=used, requested_service_unit=RequestedServiceUnit(), rating_group=1),))


async def ask(pgw: DiameterNode, *what: Any) -> gy.CreditControlAnswer:
    """Until there is an answer; the same request again and again, as RFC 8506 clause 6.5 has it."""
    while True:
        await pgw.wait_connected(GY_APPLICATION)
        with contextlib.suppress(TimerExpired, ConnectionError):
            answer = (await pgw.request(request(*what), timer=PATIENCE)).message
            assert isinstance(answer, gy.CreditControlAnswer)
            assert answer.is_success
            return answer
        await asyncio.sleep(0.02)


async def test_killed_ocs_neither_loses_nor_repeats_a_debit(tmp_path: Path) -> None:
    """Several sessions report a megabyte at a time while the OCS dies and comes back; what was not answered is sent again."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        address = Address(HOST, free.getsockname()[1])
    file = tmp_path / "ocs.yaml"
    file.write_text(CONFIG.format(host=HOST, port=address.port, directory=tmp_path))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "epc.cli", "ocs", "--config", str(file)])

    pgw = gateway(SocketTransport("pgw"), address)
    reports = dict.fromkeys("abcd", 0)
    finish = asyncio.Event()

    async def use(session: str) -> None:
        await ask(pgw, session, CcRequestType.INITIAL_REQUEST, 0)
        while not finish.is_set():
            reports[session] += 1
            await ask(pgw, session, CcRequestType.UPDATE_REQUEST, reports[session], MB)
            await asyncio.sleep(0.01)

    ocs = start()
    try:
        await pgw.start()
        work = [asyncio.create_task(use(session)) for session in reports]
        for pause_s in (0.15, 0.31, 0.22):
            await pgw.wait_connected(GY_APPLICATION)
            await asyncio.sleep(pause_s)
            ocs.send_signal(signal.SIGKILL)
            assert ocs.wait() == -signal.SIGKILL
            ocs = start()
        await pgw.wait_connected(GY_APPLICATION)
        await asyncio.sleep(0.1)
        finish.set()
        await asyncio.wait_for(asyncio.gather(*work), 20)
    finally:
        ocs.kill()
        ocs.wait()
        await pgw.stop()

    store = await open_store(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    async with store.transaction() as transaction:
        books = Books(transaction)
        account = await books.account(ALICE)
        debits = [entry for entry in await books.entries(ALICE) if entry.kind == "debit"]
        wrong = await books.audit()
    await store.close()
    assert sum(reports.values()) > 20
    assert sorted((entry.session_id, entry.request_number) for entry in debits) == [
        (session, number) for session, last in sorted(reports.items()) for number in range(1, last + 1)]
    assert account is not None
    assert account.balance == 1000 * MB - sum(reports.values()) * MB
    assert account.reserved == 4 * 5 * MB           # four open sessions, one quota each
    assert wrong == []


@pytest.mark.interop
async def test_postgresql_serves_one_account_in_turn(postgresql: str) -> None:
    """Sessions in parallel, each request twice at the same time: the money is spent once, and never more than there is."""
    network = MemoryNetwork(seed=1)
    config = parse_config({
        "name": "ocs1", "origin_host": "ocs.lab", "origin_realm": "lab", "gy": {"listen": [{"host": HOST}]}, "database": postgresql,
        "accounts": [{"imsi": ALICE, "balance": 20}], "tariff": {"rates": [{"name": "all", "price_per_mb": 1}], "quota": {"octets": "5M"}},
    }, OcsConfig, source="test")
    ocs, pgw = Ocs(config, network.transport("ocs")), gateway(network.transport("pgw"), Address(HOST, 3868))
    await ocs.start()
    await pgw.start()
    try:
        await pgw.wait_connected(GY_APPLICATION)

        async def twice(session: str, kind: CcRequestType, number: int, octets: int = 0) -> gy.CreditControlAnswer:
            first, second = await asyncio.gather(*[pgw.request(request(session, kind, number, octets)) for _ in range(2)])
            assert isinstance(first.message, gy.CreditControlAnswer)
            assert first.message == second.message
            return first.message

        begun = await asyncio.gather(*[twice(session, CcRequestType.INITIAL_REQUEST, 0) for session in "abcd"])
        assert all(answer.is_success for answer in begun)
        assert (await pgw.request(request("e", CcRequestType.INITIAL_REQUEST, 0))).message.result == 4012  # type: ignore[attr-defined]
        await asyncio.gather(*[twice(session, CcRequestType.UPDATE_REQUEST, 1, 2 * MB) for session in "abcd"])
        await asyncio.gather(*[twice(session, CcRequestType.TERMINATION_REQUEST, 2, MB) for session in "abcd"])
        shown = await ocs.commands()["balance"](imsi=ALICE)
        assert isinstance(shown, dict)
        assert (shown["balance"], shown["reserved"]) == ("8.00", "0.00")
        assert await ocs.commands()["audit"]() == {"accounts": 1, "wrong": []}
        entries = await ocs.commands()["ledger"](imsi=ALICE)
        assert isinstance(entries, list)
        assert [entry["number"] for entry in entries] == list(range(1, 10))
    finally:
        await pgw.stop()
        await ocs.stop()
