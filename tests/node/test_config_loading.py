"""Configuration files: what is wrong is said with file, line, key, reason and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from epc.node import ConfigError, Endpoint, NodeConfig, Section, load_config
from epc.node.config import PlmnDigits
from epc.node.resolve import host_names, resolve_hosts
from epc.ocs import OcsConfig


class Peer(Section):
    name: str
    endpoint: Endpoint


class Example(NodeConfig):
    listen: Endpoint
    peers: tuple[Peer, ...] = ()
    plmn: PlmnDigits | None = None
    some: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (1,)
    by_name: dict[str, Endpoint] = {}


GOOD = """\
name: node1
listen: {host: 127.0.0.1, port: 3868}
peers:
  - name: a
    endpoint: {host: hss.example, port: 3868}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "node.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, Example)
    return [problem.replace(str(tmp_path) + "/", "") for problem in caught.value.problems]


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(GOOD)
    config = load_config(file, Example)
    assert config.peers[0].endpoint.address == ("hss.example", 3868)


def test_an_unknown_key_is_named_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "    port: 7\n") == ["node.yaml:6: peers.0.port: unknown key; allowed here: endpoint, name"]


def test_a_value_out_of_range(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("port: 3868}\npeers", "port: 70000}\npeers")) == [
        "node.yaml:2: listen.port: must be less than or equal to 65535, not 70000"]


def test_a_key_that_is_almost_right(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("listen", "listn")) == [
        "node.yaml:1: listen: is missing",
        "node.yaml:2: listn: unknown key, perhaps 'listen'; allowed here: "
        "admin, by_name, capture, impairments, kind, listen, log, name, peers, plmn, sctp, some, state_directory"]


def test_a_value_is_quoted_as_it_stands_in_the_file(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "plmn: 00101\n") == ["node.yaml:6: plmn: must be in quotes, for these are digits and no number, not 00101"]
    assert problems(tmp_path, GOOD + "plmn: 0010x\n") == ["node.yaml:6: plmn: must be five or six digits (MCC, then MNC), not '0010x'"]
    assert problems(tmp_path, GOOD.replace("name: node1", "name:")) == ["node.yaml:1: name: must be a valid string, not empty"]


def test_a_value_where_a_mapping_is_needed(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "admin: 7\n") == ["node.yaml:6: admin: must be a mapping with some of the keys enabled, host, port, not 7"]


def test_keys_that_the_author_chooses_are_passed_through(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "by_name: {b: {hots: b, port: 1}}\n") == [
        "node.yaml:6: by_name.b.host: is missing", "node.yaml:6: by_name.b.hots: unknown key, perhaps 'host'; allowed here: host, port"]


def test_a_list_is_too_short_or_its_entries_are_wrong(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "some: []\n") == ["node.yaml:6: some: needs at least 1 entry"]
    assert problems(tmp_path, GOOD + "some: [0]\n") == ["node.yaml:6: some.0: must be greater than 0, not 0"]


def test_a_key_that_is_given_twice(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "    endpoint: {host: b, port: 2}\n") == ["node.yaml:6: peers.0.endpoint: is given twice; first in line 5"]


def test_a_missing_key(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: x\n") == ["node.yaml:1: listen: is missing"]


def test_something_that_is_no_host(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("127.0.0.1", "127.0.0.999")) == [
        "node.yaml:2: listen.host: neither an IP address nor a host name, not '127.0.0.999'"]


def test_what_is_no_yaml(tmp_path: Path) -> None:
    assert problems(tmp_path, "a: [1\n")[0].startswith("node.yaml:2: not YAML")


def test_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="not text in UTF-8: invalid start byte at octet 6"):
        load_config(file, Example)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml", Example)


async def test_host_names_are_resolved_everywhere_and_addresses_stay() -> None:
    config = Example.model_validate({
        "name": "n", "listen": {"host": "localhost", "port": 1},
        "peers": [{"name": "a", "endpoint": {"host": "127.0.0.9", "port": 2}}, {"name": "b", "endpoint": {"host": "localhost", "port": 3}}]})
    assert host_names(config) == {"localhost"}
    resolved = await resolve_hosts(config, patience_s=1)
    assert resolved.listen.host in ("127.0.0.1", "::1")
    assert resolved.peers[0].endpoint.host == "127.0.0.9"
    assert resolved.peers[1].endpoint.host == resolved.listen.host


async def test_resolving_a_name_leaves_every_other_value_as_it_was_read() -> None:
    def config(host: str) -> OcsConfig:
        return OcsConfig.model_validate({
            "name": "ocs", "origin_host": "ocs.example", "origin_realm": "example", "gy": {"listen": [{"host": host}]},
            "accounts": [{"imsi": "001010000000001", "balance": "10.00"}],
            "tariff": {"rates": [{"name": "home", "price_per_mb": "0.10", "hours": "08:00-22:00"}]}})
    resolved = await resolve_hosts(config("localhost"), patience_s=1)
    assert resolved.accounts[0].balance == 10_000_000
    assert resolved == config(resolved.gy.listen[0].host)
    assert resolved.model_fields_set == config("localhost").model_fields_set


async def test_a_name_nobody_knows_is_a_configuration_error() -> None:
    config = Example.model_validate({"name": "n", "listen": {"host": "no-such-host.invalid", "port": 1}})
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        await resolve_hosts(config, patience_s=0.1)
