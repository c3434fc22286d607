"""Whatever arrives on Gx, Rx and S9: an answer, no exception, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.wire import diameter
from epc.wire.diameter import RX_APPLICATION, S9_APPLICATION, Answer, base, gx, rx, s9
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from tests.interop.diameter_samples import DiameterValues
from tests.nodes.pcrf_lab import ALICE, PCRF, PCRF_ADDRESS, REALM, Lab, running_lab
from tests.nodes.test_dra import RawPeer

pytestmark = [pytest.mark.virtual_clock]

POLICY: dict[str, Any] = {
    "rules": {"web": {"usage_limit": {"octets": "1G"}}, "app": {"application": "app-1", "report_application": True},
              "boost": {"detected": ["app-1"], "qci": 7}, "night": {"hours": "22:00-06:00"}, "home": {"where": "home"}},
    "policies": [{"name": "a", "rat": ["EUTRAN", "GERAN"], "rules": ["web", "app", "boost", "night", "home"]},
                 {"name": "b", "usage_limit": {"octets": 500}}],
}
PARTNER = "epc.mnc007.mcc214.3gppnetwork.org"


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    async for lab in running_lab():
        yield lab


@pytest.fixture
def raised() -> list[object]:
    """What reached the event loop's exception handler."""
    return []


def watch(raised: list[object]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))


def plausible(values: DiameterValues, cls: type[Any], number: int) -> Any:
    """A random message whose routing, and now and then whose session and user, mean something here."""
    message = values.instance(cls, optional=values.random.choice((0.2, 0.5, 0.9)))
    fields = {field.name for field in dataclasses.fields(message)}
    fixed: dict[str, Any] = {"origin_host": f"peer{number % 2}.{PARTNER}", "origin_realm": PARTNER, "destination_realm": REALM,
                             "destination_host": PCRF, "session_id": f"session;{values.random.randrange(6)}"}
    if "auth_application_id" in fields:
        fixed["auth_application_id"] = {"gx": diameter.GX_APPLICATION, "rx": RX_APPLICATION, "s9": S9_APPLICATION}.get(
            cls.__module__.rpartition(".")[2], RX_APPLICATION)
    if "subscription_id" in fields and values.chance():
        fixed["subscription_id"] = (SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=ALICE),)
    if "cc_request_type" in fields:
        fixed["cc_request_type"] = values.random.choice((1, 1, 2, 2, 3))
    if "framed_ip_address" in fields and values.chance():
        fixed["framed_ip_address"] = values.random.choice([values.ipv4(), diameter_address(values.random.randrange(4))])
    return dataclasses.replace(message, **{name: value for name, value in fixed.items() if name in fields})


def diameter_address(number: int) -> Any:
    import ipaddress

    return ipaddress.IPv4Address(f"10.45.0.{number}")


KINDS = (gx.CreditControlRequest, gx.CreditControlRequest, rx.AARequest, base.SessionTerminationRequest, s9.CreditControlRequest,
         s9.ReAuthRequest)


@pytest.mark.parametrize("seed", range(3))
async def test_random_messages_are_all_answered(lab: Lab, raised: list[object], seed: int) -> None:
    watch(raised)
    pcrf = await lab.pcrf(POLICY, s9={"partners": [{"plmn": "21407"}, {"plmn": "00102"}]})
    await lab.pgw("fuzz", f"peer0.{PARTNER}", realm=PARTNER)
    values = DiameterValues(seed)
    results: dict[Any, int] = {}
    for number in range(250):
        message = plausible(values, values.random.choice(KINDS), number)
        octets_in = diameter.encode(message, hop_by_hop=1, end_to_end=1)
        decoded = diameter.decode(octets_in).message
        work = pcrf._serve(diameter.Packet(header=diameter.decode_header(octets_in), message=decoded))
        answer = work if isinstance(work, diameter.Message) else await work
        assert isinstance(answer, Answer), message
        diameter.encode(answer, hop_by_hop=1, end_to_end=1, application_id=diameter.decode_header(octets_in).application_id)
        results[answer.result] = results.get(answer.result, 0) + 1
        for view in pcrf.views().values():
            view()
    assert results[diameter.ResultCode.DIAMETER_SUCCESS] > 20
    assert len(results) > 4
    await asyncio.sleep(1200)                   # a home PCRF that cannot be reached is told of ends later
    assert pcrf.runner.running == []
    assert raised == []


async def test_mutated_octets_harm_nobody(lab: Lab, raised: list[object]) -> None:
    watch(raised)
    pcrf = await lab.pcrf(POLICY)
    good = await lab.pgw()
    established = await good.establish()
    chance = random.Random(5)
    values = DiameterValues(5)
    templates = [diameter.encode(plausible(values, kind, 0), hop_by_hop=1, end_to_end=2) for kind in KINDS for _ in range(4)]
    peer: RawPeer | None = None
    answered = 0
    for number in range(400):
        mutated = bytearray(chance.choice(templates))
        for _ in range(chance.randint(1, 5)):
            mutated[chance.randrange(4, len(mutated))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if peer is None or not peer.is_open:
            stream = await lab.network.transport(f"raw{number}").connect_tcp(PCRF_ADDRESS, interface="Gx")
            peer = RawPeer(f"raw.{PARTNER}", stream)
            peer.introduce(diameter.GX_APPLICATION)
            await peer.next()
        peer.send(bytes(mutated))
        await asyncio.sleep(0.02)
        answered += len(peer.received)
        peer.received.clear()
    assert answered > 150
    assert (await good.ask(gx.CcRequestType.UPDATE_REQUEST, established.session_id, 1)).is_success
    assert pcrf.gx.identity.origin_host == PCRF
    await asyncio.sleep(60)
    assert pcrf.runner.running == []
    assert raised == []
