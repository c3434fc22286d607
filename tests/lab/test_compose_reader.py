"""Reading a compose file: what becomes of services, networks, names and files."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from epc.lab.compose import Compose, load_compose
from epc.node import ConfigError

TEXT = """\
name: example
services:
  mme:
    image: epclab
    command: [mme, --config, /etc/epclab/mme.yaml]
    volumes: ["./config/mme.yaml:/etc/epclab/mme.yaml:ro"]
    networks: {core: {aliases: [mme.epc]}, radio: {ipv4_address: 172.30.1.50}}
    depends_on: {hss: {condition: service_healthy}}
    environment: [A=1]
  hss:
    image: epclab
    command: epclab hss --config /etc/epclab/hss.yaml
    configs: [{source: hss, target: /etc/epclab/hss.yaml}]
    networks: [core]
  pgw:
    image: epclab
    command: [pgw]
    volumes: ["./config:/etc/epclab:ro"]
    networks: [core]
    cap_drop: [ALL]
    cap_add: [NET_ADMIN]
  prometheus: {image: prom/prometheus}
networks:
  core: {ipam: {config: [{subnet: 172.30.0.0/24}]}}
  radio: {ipam: {config: [{subnet: 172.30.1.0/24}]}}
configs:
  hss: {file: ./config/hss.yaml}
"""


def load(tmp_path: Path, text: str = TEXT) -> Compose:
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    return load_compose(file)


def test_services_start_after_those_they_depend_on_and_others_are_left_out(tmp_path: Path) -> None:
    compose = load(tmp_path)
    assert list(compose.services).index("hss") < list(compose.services).index("mme")
    assert compose.left_out == ("prometheus",)


def test_addresses_names_files_and_capabilities(tmp_path: Path) -> None:
    compose = load(tmp_path)
    mme, hss, pgw = (compose.services[name] for name in ("mme", "hss", "pgw"))
    assert [(each.network, each.names) for each in mme.attachments] == [("core", ("mme", "mme.epc")), ("radio", ("mme",))]
    assert mme.attachments[1].address == IPv4Address("172.30.1.50")
    core = [service.attachments[0].address for service in (mme, hss, pgw)]
    assert len(set(core)) == 3
    assert IPv4Address("172.30.0.1") not in core, "the first address is the bridge's"
    config = (tmp_path / "config").resolve()
    assert mme.command == ("mme", "--config", str(config / "mme.yaml"))
    assert hss.command == ("hss", "--config", str(config / "hss.yaml"))
    assert pgw.command == ("pgw", "--config", str(config / "pgw.yaml"))
    assert (mme.environment, hss.environment) == ({"A": "1"}, {})
    assert [service.capabilities for service in (mme, hss, pgw)] == [(), (), ("NET_ADMIN",)]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("networks: [core]\n    cap_drop", "networks: [cor]\n    cap_drop", "services.pgw.networks: 'cor' is not among the networks: core, radio"),
    ("172.30.0.0/24", "172.30.0.7/24", ":24: networks.core.ipam.config.0.subnet: 172.30.0.7/24 has host bits set"),
    ("networks: [core]\n  pgw", "networks: [core]\n    depends_on: [mme]\n  pgw", "depends_on goes in a circle"),
    ("ipv4_address: 172.30.1.50", "ipv4_address: 10.0.0.1", "services.mme.networks.radio.ipv4_address: 10.0.0.1 is not in 172.30.1.0/24"),
    ("environment: [A=1]", "environment: 7", ":9: services.mme.environment: must be a mapping, not 7"),
    ("prometheus: {image: prom/prometheus}", "prometheus: 7", ":22: services.prometheus: must be a mapping with some of the keys .*command.*, not 7"),
])
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=expected.replace("(", "\\(")):
        load(tmp_path, TEXT.replace(old, new))
