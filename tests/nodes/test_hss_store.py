"""The subscriber store: the same behaviour on every database."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.hss.store import Algorithm, ApnConfiguration, PgwIdentity, StoreError, Subscriber, SubscriberExists, SubscriberStore, open_store, schema
from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    NetworkAccessMode,
    OperatorDeterminedBarring,
    PdnType,
    SubscriberStatus,
)
from epc.wire.identity import Imsi, Plmn

ALICE = Subscriber(
    imsi=Imsi("001010000000001"), msisdn="34600000001", algorithm=Algorithm.TUAK, k=bytes(range(32)), opc=bytes(range(32, 64)), op=bytes(32),
    amf=b"\x80\x01", sqn=(1 << 48) - 1, status=SubscriberStatus.OPERATOR_DETERMINED_BARRING,
    network_access_mode=NetworkAccessMode.PACKET_AND_CIRCUIT, access_restriction=AccessRestrictionData.NB_IOT_NOT_ALLOWED,
    roaming_allowed=False, rau_tau_timer_s=600, ambr_ul_bps=10**10, ambr_dl_bps=2 * 10**10, default_context_id=2,
    apns=(
        ApnConfiguration(context_id=1, apn="ims", pdn_type=PdnType.IPV4V6, qci=5, arp_priority_level=1, preemption_capability=True,
                         preemption_vulnerability=False, ambr_ul_bps=1, ambr_dl_bps=2, static_ipv4="10.45.0.9", static_ipv6="2001:db8::"),
        ApnConfiguration(context_id=2, apn="internet", pgw=PgwIdentity(host="pgw.example", realm="example", address="127.0.0.4")),
        ApnConfiguration(context_id=3, apn="corp", pgw=PgwIdentity(address="127.0.0.5", is_static=True), vplmn_allowed=True,
                         apn_oi_replacement="province1.mnc001.mcc001.gprs"),
    ),
    barring=OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED, allowed_plmns=("21407", "208"), blocked_plmns=("20801",), zone_codes=(1, 65535),
    apn_oi_replacement="mnc001.mcc001.gprs",
    mme_host="mme.example", mme_realm="example", visited_plmn=Plmn("21407"), purged=True, imeisv="3512345678901234")
BOB = Subscriber(imsi=Imsi("001010000000002"), k=bytes(16), opc=bytes(16))


@async_fixture(params=[
    "memory",
    "file",
    pytest.param("postgresql", marks=[pytest.mark.interop, pytest.mark.real_time]),
])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SubscriberStore]:
    match request.param:
        case "memory":
            url = "sqlite://"
        case "file":
            url = f"sqlite:///{tmp_path / 'hss.sqlite'}"
        case _:
            url = request.getfixturevalue("postgresql")
    opened = await open_store(url)
    yield opened
    await opened.remove_range("000000000000000", "999999999999999")
    await opened.close()


async def test_every_field_survives(store: SubscriberStore) -> None:
    await store.put(ALICE)
    await store.put(BOB)
    assert await store.get(ALICE.imsi) == ALICE
    assert await store.get(BOB.imsi) == BOB
    assert await store.get("001010000000003") is None


async def test_subscriber_without_eps_subscription(store: SubscriberStore) -> None:
    await store.put(replace(BOB, apns=()))
    stored = await store.get(BOB.imsi)
    assert stored is not None
    assert stored.apns == ()


async def test_sqn_advances_only_from_the_value_that_was_read(store: SubscriberStore) -> None:
    await store.put(BOB)
    assert await store.advance_sqn(BOB.imsi, old=0, new=33)
    assert not await store.advance_sqn(BOB.imsi, old=0, new=66)
    assert not await store.advance_sqn("001019999999999", old=0, new=66)
    stored = await store.get(BOB.imsi)
    assert stored is not None
    assert stored.sqn == 33


async def test_registration_purge_and_deregistration(store: SubscriberStore) -> None:
    await store.put(BOB)
    await store.register_mme(BOB.imsi, mme_host="mme1", mme_realm="realm", visited_plmn="00101", imeisv="3512345678901234")
    assert await store.count_by_mme() == {"mme1": 1}
    assert not await store.set_purged(BOB.imsi, mme_host="mme2")
    assert await store.set_purged(BOB.imsi, mme_host="mme1")
    assert await store.count_by_mme() == {}
    await store.register_mme(BOB.imsi, mme_host="mme2", mme_realm="realm", visited_plmn="21407", imeisv=None)
    stored = await store.get(BOB.imsi)
    assert stored == replace(BOB, mme_host="mme2", mme_realm="realm", visited_plmn=Plmn("21407"), imeisv="3512345678901234")
    await store.deregister_mme(BOB.imsi)
    await store.set_imeisv(BOB.imsi, "1")
    assert await store.get(BOB.imsi) == replace(BOB, imeisv="1")


async def test_pgw_of_an_apn(store: SubscriberStore) -> None:
    await store.put(BOB)
    pgw = PgwIdentity(host="pgw.example", realm="example", address="127.0.0.4")
    await store.set_pgw(BOB.imsi, context_id=1, pgw=pgw)
    stored = await store.get(BOB.imsi)
    assert stored == replace(BOB, apns=(replace(BOB.apns[0], pgw=pgw),))
    await store.set_pgw(BOB.imsi, context_id=1, pgw=None)
    assert await store.get(BOB.imsi) == BOB


async def test_adding_twice_is_refused_and_changes_nothing(store: SubscriberStore) -> None:
    await store.put(BOB)
    with pytest.raises(SubscriberExists, match=BOB.imsi):
        await store.put(replace(BOB, msisdn="1"))
    with pytest.raises(SubscriberExists):
        await store.put_many([ALICE, BOB])
    assert await store.get(BOB.imsi) == BOB
    assert await store.get(ALICE.imsi) is None


async def test_replacing_keeps_registration_and_the_larger_sqn(store: SubscriberStore) -> None:
    await store.put(BOB)
    await store.register_mme(BOB.imsi, mme_host="mme1", mme_realm="realm", visited_plmn="00101", imeisv=None)
    assert await store.advance_sqn(BOB.imsi, old=0, new=330)
    await store.put(replace(BOB, msisdn="34600000002", sqn=33), replace=True)
    stored = await store.get(BOB.imsi)
    assert stored is not None
    assert (stored.msisdn, stored.mme_host, stored.sqn) == ("34600000002", "mme1", 330)


async def test_replacing_the_usim_takes_its_sqn(store: SubscriberStore) -> None:
    await store.put(replace(BOB, sqn=330))
    await store.put(replace(BOB, k=bytes(15) + b"\1", sqn=0), replace=True)
    stored = await store.get(BOB.imsi)
    assert stored is not None
    assert stored.sqn == 0


async def test_many_subscribers_page_by_page_and_in_ranges(store: SubscriberStore) -> None:
    imsis = [f"00101{number:010d}" for number in range(2 * schema.PAGE + 1)]
    assert await store.put_many(replace(BOB, imsi=Imsi(imsi)) for imsi in imsis) == len(imsis)
    assert await store.count() == len(imsis)
    assert [each.imsi async for each in store.subscribers()] == imsis
    assert [each.imsi async for each in store.subscribers(first=imsis[10], last=imsis[12])] == imsis[10:13]
    assert all(each.apns == BOB.apns for each in [each async for each in store.subscribers()])
    assert await store.remove_range(imsis[1], imsis[-1]) == len(imsis) - 1
    assert await store.remove(imsis[0])
    assert not await store.remove(imsis[0])
    assert await store.count() == 0


async def test_a_range_of_15_digits_leaves_shorter_imsis_alone(store: SubscriberStore) -> None:
    await store.put(replace(BOB, imsi=Imsi("00101000000001")))
    assert await store.remove_range("001010000000000", "001019999999999") == 0


@pytest.mark.parametrize("url", ["hss.sqlite", "sqlite://hss.sqlite", "sqlite:///hss.sqlite?mode=ro", "sqlite:///a?synchronous=MAYBE"])
async def test_url_mistakes_say_what_is_allowed(url: str) -> None:
    with pytest.raises(StoreError, match=r"allowed|only option"):
        await open_store(url)


async def test_unreachable_databases_are_store_errors(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        await open_store(f"sqlite:///{tmp_path}/no/such/folder.sqlite")
    with pytest.raises(StoreError):
        await open_store(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(StoreError, match="nosuchdialect"):
        await open_store("nosuchdialect://host/name")


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hss.sqlite"
    await (await open_store(f"sqlite:///{path}")).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (999)")
    connection.close()
    with pytest.raises(StoreError, match="999 is newer"):
        await open_store(f"sqlite:///{path}")


async def test_migrations_run_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hss.sqlite'}"
    first = await open_store(url)
    await first.put(BOB)
    second = await open_store(url)
    assert await second.get(BOB.imsi) == BOB
    await first.close()
    await second.close()


async def test_a_damaged_row_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "hss.sqlite"
    store = await open_store(f"sqlite:///{path}")
    await store.put(BOB)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE subscriber SET algorithm = 'rot13'")
    connection.close()
    with pytest.raises(StoreError, match="rot13"):
        await store.get(BOB.imsi)
    await store.close()


@pytest.mark.virtual_clock
async def test_sqlite_needs_no_thread() -> None:
    """On the virtual clock's loop a thread would never be heard of again."""
    store = await open_store("sqlite://")
    await asyncio.wait_for(store.put(BOB), 1.0)
    assert await asyncio.wait_for(store.get(BOB.imsi), 1.0) == BOB
    await store.close()


HSS_THAT_DIES = """
    import asyncio, sys
    from epc.hss.store import Subscriber, open_store
    from epc.security.eps_aka import next_sqn

    async def main():
        store = await open_store(sys.argv[1])
        while True:
            subscriber = await store.get("001010000000001")
            new = next_sqn(subscriber.sqn)
            assert await store.advance_sqn(subscriber.imsi, old=subscriber.sqn, new=new)
            print(new, flush=True)      # the vector is out: this SQN must never be used again

    asyncio.run(main())
"""


def sqns_until_killed(url: str) -> list[int]:
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(HSS_THAT_DIES), url], stdout=subprocess.PIPE, text=True) as hss:
        assert hss.stdout is not None
        handed_out = [int(hss.stdout.readline()) for _ in range(50)]
        hss.send_signal(signal.SIGKILL)
        return handed_out + [int(line) for line in hss.stdout if line.endswith("\n")]


@pytest.mark.real_time
async def test_sqn_never_goes_backwards_after_kill_9(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hss.sqlite'}"
    store = await open_store(url)
    await store.put(replace(BOB, imsi=Imsi("001010000000001")))
    await store.close()
    before = 0
    for _ in range(3):
        handed_out = sqns_until_killed(url)
        assert handed_out[0] > before
        store = await open_store(url)
        stored = await store.get("001010000000001")
        await store.close()
        assert stored is not None
        assert stored.sqn >= handed_out[-1]
        before = stored.sqn
