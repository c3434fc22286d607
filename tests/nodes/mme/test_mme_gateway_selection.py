"""Whose subscriber an IMSI is, and S-NAPTR by itself: weights, closeness, loops."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from dns.rdata import from_text
from dns.rdataclass import IN
from dns.rdatatype import SRV

from epc.dns import Dns, DnsConfig
from epc.mme import MmeConfig, snaptr
from epc.mme.snaptr import Candidate, Service
from epc.node import ConfigError, parse_config
from epc.node.metrics import NodeMetrics
from epc.transport.dns import DnsClient
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork

MME: dict[str, Any] = {
    "kind": "mme", "name": "mme", "s1": [{"host": "127.0.0.1"}], "s11": {"host": "127.0.0.1"}, "s6a": {"peers": [{"host": "127.0.0.2"}]},
    "gummeis": [{"plmn": "21407", "mme_group_id": 1, "mme_code": 1}], "tais": [{"plmn": "214070", "tacs": [1]}], "sgws": [{"host": "127.0.0.3"}],
    "pgws": [{"host": "127.0.0.4"}], "roaming": {"partners": ["00101", "310410", "31041"]},
}
PGW = Service("x-3gpp-pgw", ("x-s5-gtp",))


def config(**changes: Any) -> MmeConfig:
    return parse_config({**MME, **changes}, MmeConfig, source="test")


@pytest.mark.parametrize(("imsi", "home"), [
    ("001010000000001", "00101"), ("214071000000001", "21407"), ("214070000000001", "214070"),      # the longer one, where both are known
    ("310410000000001", "310410"), ("311480000000001", "311480"), ("208011000000001", "20801"), ("310419000000001", "31041")])
def test_the_home_plmn_of_an_imsi(imsi: str, home: str) -> None:
    assert config().home_plmn(imsi) == home


def test_the_realm_follows_unless_the_configuration_says_another() -> None:
    assert config().home_realm("001010000000001") == "epc.mnc001.mcc001.3gppnetwork.org"
    assert config().home_realm("311480000000001") == "epc.mnc480.mcc311.3gppnetwork.org"
    assert config(s6a={**MME["s6a"], "destination_realm": "hub.example"}).home_realm("001010000000001") == "hub.example"


@pytest.mark.parametrize("missing", ["sgws", "pgws"])
def test_gateways_come_from_the_configuration_or_from_the_dns(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"{missing}: is missing, and there is no dns to ask"):
        config(**{missing: []})
    assert config(**{missing: []}, dns={"servers": [{"host": "127.0.0.53"}]}).dns is not None


def test_services_and_what_follows_a_plus() -> None:
    assert PGW.is_offered_by("x-3gpp-pgw:x-s8-gtp:x-s5-gtp")
    assert PGW.is_offered_by("x-3gpp-pgw:x-s5-gtp+nc-smf")
    assert not any(PGW.is_offered_by(field) for field in ("x-3gpp-pgw:x-s8-gtp", "x-3gpp-sgw:x-s5-gtp", "", "x-3gpp-pgw"))


def test_srv_weights_are_shares() -> None:
    """RFC 2782: three quarters of the first picks go to the one with weight 3."""
    records = [from_text(IN, SRV, text) for text in ("10 3 2123 a.", "10 1 2123 b.", "20 100 2123 c.")]
    chance = random.Random(1)
    orders = [[str(record.target) for record in snaptr.by_weight(records, chance)] for _ in range(2000)]        # type: ignore[arg-type]
    first = Counter(order[0] for order in orders)
    assert set(first) == {"a.", "b."}
    assert 0.70 < first["a."] / 2000 < 0.85
    assert all(sorted(order) == ["a.", "b.", "c."] and order[2] == "c." for order in orders)


def test_topological_names_go_by_closeness() -> None:
    far, off, close = [Candidate(name, ("127.0.0.1",)) for name in (
        "topon.s5.gw1.south.example", "topoff.s5.gw2.north.example", "topon.s5.gw3.north.example")]
    assert snaptr.by_closeness([far, off, close], "sgw.north.example") == [close, far, off]
    assert snaptr.by_closeness([off, close], "gw9.elsewhere") == [off, close]


@pytest.mark.virtual_clock
async def test_records_that_lead_in_circles_lead_nowhere() -> None:
    wires = MemoryNetwork(seed=1)
    zone = {"name": "example", "records": """
a NAPTR 1 1 "" "x-3gpp-pgw:x-s5-gtp" "" b
b NAPTR 1 1 "" "x-3gpp-pgw:x-s5-gtp" "" a
c CNAME d
d CNAME c
"""}
    server = Dns(parse_config({"kind": "dns", "name": "dns", "listen": [{"host": "127.0.0.53"}], "zones": [zone]}, DnsConfig, source="test"),
                 wires.transport("dns"))
    await server.start()
    resolver = DnsClient(
        wires.transport("mme"), [Address("127.0.0.53", 53)], observer=NodeMetrics("mme"), entropy=random.Random(1), local="127.0.0.1")
    await resolver.open()
    assert await snaptr.candidates(resolver, "a.example", PGW, entropy=random.Random(1)) == []
    with pytest.raises(Exception, match=r"aliases|no answer|SERVFAIL"):
        await resolver.records("c.example", SRV)
    resolver.close()
    await server.stop()
