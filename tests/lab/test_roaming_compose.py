"""compose/roaming.yaml: two operators that share one network, and a phone that attaches across it."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import dns.name
import dns.rdatatype
import jsonschema
import pytest
import yaml

from epc.dns.zones import Zones, parse_zone
from epc.lab.compose import Compose, load_compose
from epc.lab.kinds import config_model
from epc.node import NodeConfig, load_config
from epc.node.resolve import host_names
from tests.lab import running_lab
from tests.lab.running_lab import namespaces_can_be_made

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose" / "roaming.yaml"
HOME = {"dra-home", "dns-home", "hss", "pcrf", "ocs", "pgw"}
VISITED = {"dra-visited", "dns-visited", "pcrf-visited", "pgw-visited", "sgw", "mme", "enb"}
USER_PLANE = {"pgw", "pgw-visited", "enb"}
epclab = partial(running_lab.epclab, timeout_s=120)
services: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]


@pytest.fixture(scope="module")
def compose() -> Compose:
    return load_compose(FILE)


def config_of(compose: Compose, name: str) -> NodeConfig:
    service = compose.services[name]
    return load_config(service.config, config_model(service.kind))


def test_the_file_follows_the_compose_specification() -> None:
    package = importlib.util.find_spec("check_jsonschema")
    if package is None or package.origin is None:
        pytest.skip("the compose specification's schema comes with check-jsonschema")
    schema = json.loads((Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(yaml.safe_load(FILE.read_text()))] == []


def test_the_operators_share_the_interconnect_only(compose: Compose) -> None:
    assert set(compose.services) == HOME | VISITED

    def networks(names: set[str]) -> set[str]:
        return {network for name in names for network in services[name]["networks"]}

    assert networks(HOME) & networks(VISITED) == {"ipx"}
    assert {name for name, service in services.items() if service.get("cap_add")} == USER_PLANE


@pytest.mark.parametrize("name", services)
def test_a_nodes_configuration_is_good_and_its_names_resolve(compose: Compose, name: str) -> None:
    config = config_of(compose, name)
    reachable = {each for attachment in compose.services[name].attachments for other in compose.services.values()
                 for theirs in other.attachments if theirs.network == attachment.network for each in theirs.names}
    assert host_names(config) <= reachable
    assert config.name == name


def test_the_dns_names_gateways_at_their_addresses(compose: Compose) -> None:
    where = {(name, attachment.network): str(attachment.address) for name, service in compose.services.items() for attachment in service.attachments}
    zones = Zones([parse_zone(zone.name, zone.records, zone.ttl_s)
                   for name in ("dns-home", "dns-visited") for zone in config_of(compose, name).zones])         # type: ignore[attr-defined]
    pgw, sgw = ("topoff.s8.pgw1.node.epc.mnc001.mcc001", where["pgw", "ipx"]), ("topon.s11.sgw1.node.epc.mnc007.mcc214", where["sgw", "visited"])
    local = ("topon.s5.pgw1.node.epc.mnc007.mcc214", where["pgw-visited", "ipx"])
    for host, expected in (pgw, sgw, local):
        found = zones.look_up(dns.name.from_text(f"{host}.3gppnetwork.org"), dns.rdatatype.A)
        assert found is not None
        assert [str(rdata) for rdata in found.answer[0]] == [expected]


@pytest.mark.real_time
@pytest.mark.privileged
@pytest.mark.skipif(not namespaces_can_be_made(), reason="no network namespaces on this host")
def test_what_compose_starts_attaches_a_phone_abroad(tmp_path: Path) -> None:
    lab = ("--dir", str(tmp_path))
    up = epclab("lab", "up", str(FILE), "--detach", "--patience", "60", *lab)
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        attached = json.loads(epclab("ctl", "enb", "attach", "imsi=001010000000001", *lab).stdout)
        assert (attached["success"], attached["ip"]) == (True, "10.45.0.1"), attached
        pinged = epclab("ctl", "enb", "ping", "imsi=001010000000001", "destination=10.200.0.1", *lab)
        assert json.loads(pinged.stdout)["received"] == 3, pinged.stdout + pinged.stderr
        checked = epclab("lab", "check", *lab)
        assert checked.returncode == 0, checked.stdout
        local = json.loads(epclab("ctl", "enb", "attach", "imsi=001010000000011", *lab).stdout)
        assert (local["success"], local["ip"]) == (True, "10.99.0.1"), local
        pinged = epclab("ctl", "enb", "ping", "imsi=001010000000011", "destination=10.209.0.1", *lab)
        assert json.loads(pinged.stdout)["received"] == 3, pinged.stdout + pinged.stderr
        (s9,) = json.loads(epclab("ctl", "pcrf-visited", "visited_sessions", "--json", *lab).stdout)
        assert (s9["imsi"], s9["home_realm"]) == ("001010000000011", "epc.mnc001.mcc001.3gppnetwork.org")
        for imsi in ("001010000000001", "001010000000011"):
            detached = epclab("ctl", "enb", "detach", f"imsi={imsi}", *lab)
            assert json.loads(detached.stdout)["success"], detached.stdout + detached.stderr
        left = epclab("lab", "check", "--nothing-left", *lab)
        assert left.returncode == 0, left.stdout
    finally:
        down = epclab("lab", "down", *lab)
    assert down.returncode == 0, down.stdout + down.stderr
