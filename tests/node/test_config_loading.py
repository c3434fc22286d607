"""Configuration files: what is wrong is said with file, line, key, reason and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from epc.node import ConfigError, Endpoint, NodeConfig, Section, load_config
from epc.node.resolve import host_names, resolve_hosts


class Peer(Section):
    name: str
    endpoint: Endpoint


class Example(NodeConfig):
    listen: Endpoint
    peers: tuple[Peer, ...] = ()


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
        "node.yaml:2: listen.port: input should be less than or equal to 65535, not 70000"]


def test_a_missing_key(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: x\n") == ["node.yaml:1: listen: is missing"]


def test_something_that_is_no_host(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("127.0.0.1", "127.0.0.999")) == [
        "node.yaml:2: listen.host: neither an IP address nor a host name, not '127.0.0.999'"]


def test_what_is_no_yaml(tmp_path: Path) -> None:
    assert problems(tmp_path, "a: [1\n")[0].startswith("node.yaml:2: not YAML")


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


async def test_a_name_nobody_knows_is_a_configuration_error() -> None:
    config = Example.model_validate({"name": "n", "listen": {"host": "no-such-host.invalid", "port": 1}})
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        await resolve_hosts(config, patience_s=0.1)
