"""The published JSON Schemas of the nodes' configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from epc.cli.config import schema_text
from epc.lab.kinds import KINDS

ROOT = Path(__file__).parents[2]

# of the kinds that the compose file does without
EXAMPLES: dict[str, dict[str, Any]] = {
    "sgwu": {"kind": "sgwu", "name": "sgwu", "sxa": {"host": "127.0.0.33"}, "s1u": {"host": "127.0.0.3"}, "s5u": {"host": "127.0.0.3"}},
    "pgwu": {
        "kind": "pgwu", "name": "pgwu", "sxb": {"host": "127.0.0.34"}, "s5u": {"host": "127.0.0.4"},
        "networks": {"internet": {"ipv4_pool": "10.45.0.0/16", "server": "10.200.0.1/24"}},
    },
    "ocs": {
        "kind": "ocs", "name": "ocs", "origin_host": "ocs.epc.mnc001.mcc001.3gppnetwork.org", "origin_realm": "epc.mnc001.mcc001.3gppnetwork.org",
        "gy": {"listen": [{"host": "127.0.0.10"}]}, "accounts": [{"imsi": "001010000000001", "balance": "10.00"}],
        "tariff": {"home_plmns": ["00101"], "rates": [
            {"name": "roaming", "where": "roaming", "price_per_mb": "0.50"}, {"name": "home", "price_per_mb": "0.01"}]},
    },
    "af": {
        "kind": "af", "name": "af", "origin_host": "af.epc.mnc001.mcc001.3gppnetwork.org", "origin_realm": "epc.mnc001.mcc001.3gppnetwork.org",
        "rx": {"peers": [{"host": "127.0.0.9"}]}, "application": "voice",
    },
    "dns": {
        "kind": "dns", "name": "dns", "listen": [{"host": "127.0.0.53"}], "forward": [{"servers": [{"host": "127.0.1.53"}]}],
        "zones": [{
            "name": "epc.mnc001.mcc001.3gppnetwork.org",
            "records": 'internet.apn NAPTR 10 10 a x-3gpp-pgw:x-s5-gtp "" pgw1.node\npgw1.node A 127.0.0.13'}],
    },
    "dra": {
        "kind": "dra", "name": "dra", "origin_host": "dra.epc.mnc001.mcc001.3gppnetwork.org", "origin_realm": "epc.mnc001.mcc001.3gppnetwork.org",
        "diameter": {"listen": [{"host": "127.0.0.18"}], "peers": [{"host": "127.0.0.11"}]},
        "routes": [{"realm": "epc.mnc007.mcc214.3gppnetwork.org", "application": "S6a", "peers": [{"identity": "dra.visited", "weight": 2}]}],
        "topology_hiding": {"secret": "lab"},
    },
}


def published(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "schema" / f"{kind}.json").read_text())
    return schema


def test_every_kind_of_node_has_one() -> None:
    assert sorted(file.stem for file in (ROOT / "docs" / "schema").glob("*.json")) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_is_current(kind: str) -> None:
    assert (ROOT / "docs" / "schema" / f"{kind}.json").read_text() == schema_text(kind), "run `make schema`"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_accepts_the_files_that_are_here_and_no_unknown_key(kind: str) -> None:
    schema = published(kind)
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    entries = yaml.safe_load((ROOT / "scenarios" / "attach.yaml").read_text())["nodes"]
    example = ROOT / "compose" / "config" / f"{kind}.yaml"
    files = [yaml.safe_load(example.read_text()) if example.exists() else EXAMPLES[kind]]
    files += [{"name": name, **entry} for name, entry in entries.items() if entry["kind"] == kind]
    for file in files:
        assert [error.message for error in validator.iter_errors(file)] == []
        assert not validator.is_valid({**file, "nonsense": 1})
