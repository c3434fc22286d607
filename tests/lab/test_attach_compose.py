"""compose/attach.yaml: what the specification, the nodes, the lab and the dashboards make of it."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from epc.lab.compose import Compose, load_compose
from epc.lab.kinds import KINDS, config_model, node_class
from epc.node import NodeConfig, load_config, parse_config
from epc.node.resolve import host_names
from epc.transport.memory import MemoryNetwork
from tests.lab.running_lab import epclab, namespaces_can_be_made

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
FILE = COMPOSE / "attach.yaml"
DASHBOARD = COMPOSE / "grafana" / "dashboards" / "attach.json"
USER_PLANE = {"pgw", "enb"}

data: dict[str, Any] = yaml.safe_load(FILE.read_text())
services: dict[str, dict[str, Any]] = data["services"]
NODES = [name for name, service in services.items() if service["image"] == "epclab"]


@pytest.fixture(scope="module")
def compose() -> Compose:
    return load_compose(FILE)


def config_of(compose: Compose, name: str) -> NodeConfig:
    service = compose.services[name]
    return load_config(service.config, config_model(service.kind))


def networks_of(name: str) -> set[str]:
    return set(services[name]["networks"])


def names_on(network: str) -> set[str]:
    """What the network's resolver knows: services, and their aliases in this network."""
    found = set()
    for name, service in services.items():
        if network in service["networks"]:
            found.add(name)
            if isinstance(service["networks"], dict):
                found |= set((service["networks"][network] or {}).get("aliases", ()))
    return found


def specification() -> dict[str, Any]:
    package = importlib.util.find_spec("check_jsonschema")
    if package is None or package.origin is None:
        pytest.skip("the compose specification's schema comes with check-jsonschema")
    schema: dict[str, Any] = json.loads((Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())
    return schema


def test_the_file_follows_the_compose_specification() -> None:
    schema = specification()
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(data)] == []
    assert not validator.is_valid({**data, "services": {"mme": {"comand": ["mme"]}}})


def test_every_kind_of_node_that_a_network_needs_is_there_once() -> None:
    optional = {"af", "dns", "dra", "ocs", "pgwu", "sgwu"}       # an attach at home does without
    assert sorted(NODES) == sorted(set(KINDS) - optional)


@pytest.mark.parametrize("name", NODES)
def test_nodes_have_no_privileges_but_the_user_planes(name: str) -> None:
    service = services[name]
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_ADMIN"] if name in USER_PLANE else [])
    assert not {"privileged", "network_mode", "pid", "ipc", "userns_mode"} & set(service)
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert ("user" in service) == (name in USER_PLANE)
    assert "ports" not in service


@pytest.mark.parametrize("name", services)
def test_services_find_each_other_by_name_and_say_whether_they_are_well(name: str) -> None:
    service = services[name]
    assert not any("ipv4_address" in (each or {}) for each in service["networks"].values()) if isinstance(service["networks"], dict) else True
    assert service["healthcheck"]["test"][0] == "CMD"
    assert set(service.get("depends_on", {})) <= set(services)
    assert all(each == {"condition": "service_healthy"} for each in service.get("depends_on", {}).values())
    assert networks_of(name) <= set(data["networks"])


@pytest.mark.parametrize("name", NODES)
def test_a_nodes_configuration_is_good_and_its_names_resolve(compose: Compose, name: str) -> None:
    assert services[name]["command"][0] == compose.services[name].kind == name
    config = config_of(compose, name)
    assert config.kind == name
    assert (config.admin.host, config.admin.port) == ("0.0.0.0", 9090)
    reachable = set().union(*(names_on(network) for network in networks_of(name)))
    assert host_names(config) <= reachable
    own = {name, *(alias for attachment in compose.services[name].attachments for alias in attachment.names)}
    multi_homed = {each for each in reachable if sum(each in names_on(network) for network in networks_of(name)) > 1}
    assert not host_names(config) & multi_homed, "a name with several addresses leaves it to chance which one is used"
    assert host_names(config) & own, "a node announces the address at which peers reach it"


def test_the_lab_starts_the_same_services(compose: Compose) -> None:
    assert sorted(compose.services) == sorted(NODES)
    assert compose.left_out == ("prometheus", "grafana")
    assert {name for name, service in compose.services.items() if service.capabilities} == USER_PLANE
    order = list(compose.services)
    assert order.index("enb") > order.index("mme") > order.index("hss")


def test_phones_are_subscribers_and_the_cell_is_in_the_mmes_area(compose: Compose) -> None:
    hss, enb, mme = (yaml.safe_load((COMPOSE / "config" / f"{name}.yaml").read_text()) for name in ("hss", "enb", "mme"))
    (subscribers,), (phones,) = hss["subscribers"], enb["phones"]
    assert (subscribers["imsi"], subscribers["count"]) == (phones["imsi"], phones["count"])
    first, _ = config_of(compose, "hss").subscribers[0].parsed()  # type: ignore[attr-defined]
    assert (first.k.hex().upper(), first.opc.hex().upper()) == (phones["k"], phones["opc"])
    assert enb["plmn"] == mme["tais"][0]["plmn"] == mme["gummeis"][0]["plmn"]
    assert enb["cells"][0]["tac"] in mme["tais"][0]["tacs"]


@pytest.mark.real_time
@pytest.mark.privileged
@pytest.mark.skipif(not namespaces_can_be_made(), reason="no network namespaces on this host")
def test_what_compose_starts_attaches_a_phone(tmp_path: Path) -> None:
    lab = ("--dir", str(tmp_path))
    up = epclab("lab", "up", str(FILE), "--detach", *lab)
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        attached = epclab("ctl", "enb", "attach", "imsi=001010000000001", *lab)
        assert json.loads(attached.stdout)["success"], attached.stdout + attached.stderr
        pinged = epclab("ctl", "enb", "ping", "imsi=001010000000001", "destination=10.200.0.1", *lab)
        assert json.loads(pinged.stdout)["received"] == 3, pinged.stdout + pinged.stderr
        assert json.loads(epclab("ctl", "hss", "subscribers", *lab).stdout) == {"subscribers": 100, "registered": 1}
        detached = epclab("ctl", "enb", "detach", "imsi=001010000000001", *lab)
        assert json.loads(detached.stdout)["success"], detached.stdout + detached.stderr
    finally:
        down = epclab("lab", "down", *lab)
    assert down.returncode == 0, down.stdout + down.stderr


def test_prometheus_scrapes_every_node() -> None:
    prometheus = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    targets = dict(target.split(":") for target in job["static_configs"][0]["targets"])
    assert targets == dict.fromkeys(NODES, "9090")
    assert all(networks_of("prometheus") & networks_of(name) for name in NODES)


def test_grafana_is_provisioned_with_what_is_there() -> None:
    source = yaml.safe_load((COMPOSE / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    dashboards = yaml.safe_load((COMPOSE / "grafana" / "provisioning" / "dashboards" / "epclab.yaml").read_text())["providers"][0]
    assert source["url"] == "http://prometheus:9090"
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert dashboards["options"]["path"] == mounts["./grafana/dashboards"]
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{mounts['./grafana/dashboards']}/{DASHBOARD.name}"
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels)


@pytest.mark.parametrize("volume", [volume for service in services.values() for volume in service["volumes"]])
def test_mounted_files_exist(volume: str) -> None:
    source, _, mode = volume.split(":")
    assert (COMPOSE / source).exists()
    assert mode == "ro"


@pytest.mark.virtual_clock
async def test_every_metric_on_the_dashboard_is_one_that_a_node_has() -> None:
    known: set[str] = set()
    for name in NODES:
        text = re.sub(r"\bhost: [a-z][a-z0-9-]*", "host: 127.0.0.1", (COMPOSE / "config" / f"{name}.yaml").read_text())
        in_process = {"pgw": {"sgi_hosts": "in_process"}, "enb": {"phone_hosts": "in_process"}}.get(name, {})
        config = parse_config({**yaml.safe_load(text), **in_process}, config_model(name), source=name)
        node = node_class(name)(config, MemoryNetwork().transport(name))
        await node.start()
        await node.stop()
        for family in node.metrics.registry.collect():
            known |= {family.name + ending for ending in {
                "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}[family.type]}
    expressions = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    used = {word for expression in expressions for word in re.findall(rf"\bepc_(?:{'|'.join(KINDS)})_\w+", expression)}
    patterns = {word for expression in expressions for word in re.findall(r'__name__=~"([^"]+)"', expression)}
    assert used
    assert used <= known
    assert all(any(re.fullmatch(pattern, name) for name in known) for pattern in patterns)


def test_the_image_is_small_and_runs_as_nobody_in_particular() -> None:
    lines = re.sub(r"\\\n\s*", "", (COMPOSE / "Dockerfile").read_text()).splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    assert len(stages) == 2
    build, final = lines[:stages[1]], lines[stages[1]:]
    assert any("libusrsctp-dev" in line for line in build)
    assert not any(word in line for line in final for word in ("gcc", "-dev", "pip install"))
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users == ["10001:10001"]
    assert any(line.startswith("HEALTHCHECK") for line in final)
    assert 'ENTRYPOINT ["epclab"]' in final


def test_the_engine_is_sent_what_the_image_is_built_from() -> None:
    copied = [word for line in (COMPOSE / "Dockerfile").read_text().splitlines() if line.startswith("COPY ") and "--from" not in line
              for word in line.split()[1:-1]]
    sent = [line[1:] for line in (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(sent)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert {*packages, project["project"]["readme"], "pyproject.toml", "setup.py"} <= set(copied)
