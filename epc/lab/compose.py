"""A compose file without a container engine: the same services, commands, networks and names, in network namespaces.

What of the compose specification is understood: ``services`` with ``command``, ``networks`` (list, or mapping with ``ipv4_address`` and
``aliases``), ``volumes`` and ``configs`` that bring files, ``environment``, ``depends_on``, ``cap_add``; ``networks`` with ``ipam`` subnets;
top-level ``configs`` with ``file``.
Services whose image is not epclab's (Prometheus, Grafana) are left to a real engine, and said so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epc.lab.kinds import KINDS
from epc.node import ConfigError
from epc.node.config import read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A service's place in a network."""

    network: str
    address: ipaddress.IPv4Address
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    name: str
    kind: str
    command: tuple[str, ...]            # with container paths replaced by those of this host
    attachments: tuple[Attachment, ...]
    environment: Mapping[str, str]
    depends_on: tuple[str, ...]
    privileged_network: bool            # has NET_ADMIN: may make TUN devices
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    name: str
    path: Path
    networks: Mapping[str, ipaddress.IPv4Network]
    services: Mapping[str, Service]
    left_out: tuple[str, ...]           # services of other projects' images


def load_compose(path: Path) -> Compose:
    """Raises :class:`ConfigError`."""
    data, _ = read_yaml(path)
    problems: list[str] = []
    services: dict[str, Any] = data.get("services") or {}
    networks = _networks(data.get("networks") or {"default": None}, path, problems)
    ours: dict[str, Any] = {}
    left_out = []
    for name, service in services.items():
        command = _words(service.get("command"))
        if command and command[0] in KINDS:
            ours[name] = service
        else:
            left_out.append(name)
    taken: dict[str, set[ipaddress.IPv4Address]] = {name: {next(network.hosts())} for name, network in networks.items()}
    wishes: dict[str, list[tuple[str, str | None, tuple[str, ...]]]] = {}
    for name, service in ours.items():
        wishes[name] = _wishes(service.get("networks"))
        for network, fixed, _ in wishes[name]:
            if network not in networks:
                problems.append(f"{path}: services.{name}.networks: {network!r} is not among the networks: {', '.join(networks)}")
            elif fixed is not None:
                taken[network].add(ipaddress.IPv4Address(fixed))
    if problems:
        raise ConfigError(problems)
    found = {}
    for name, service in ours.items():
        attachments = []
        for network, fixed, aliases in wishes[name]:
            address = ipaddress.IPv4Address(fixed) if fixed else next(host for host in networks[network].hosts() if host not in taken[network])
            taken[network].add(address)
            attachments.append(Attachment(network=network, address=address, names=(name, *aliases)))
        files = _files(service, data.get("configs") or {}, path)
        found[name] = Service(
            name=name, kind=_words(service["command"])[0], command=tuple(_host_path(word, files) for word in _words(service["command"])),
            attachments=tuple(attachments), environment=_environment(service.get("environment")),
            depends_on=tuple(service.get("depends_on") or ()), privileged_network="NET_ADMIN" in (service.get("cap_add") or ()),
            devices=tuple(str(device).split(":")[0] for device in service.get("devices") or ()))
    if not found:
        raise ConfigError([f"{path}: services: none of them runs an epclab node (command: [mme, ...])"])
    return Compose(name=str(data.get("name") or path.stem), path=path, networks=networks, services=_ordered(found, path), left_out=tuple(left_out))


def _words(command: Any) -> list[str]:
    words = command.split() if isinstance(command, str) else [str(word) for word in command or ()]
    return words[1:] if words[:1] == ["epclab"] else words


def _networks(data: Mapping[str, Any], path: Path, problems: list[str]) -> dict[str, ipaddress.IPv4Network]:
    found = {}
    for i, (name, network) in enumerate(data.items()):
        subnets = [each.get("subnet") for each in (((network or {}).get("ipam") or {}).get("config") or ()) if "." in str(each.get("subnet"))]
        try:
            found[name] = ipaddress.IPv4Network(subnets[0] if subnets else f"172.31.{i}.0/24")
        except ValueError as error:
            problems.append(f"{path}: networks.{name}.ipam: {error}")
    return found


def _wishes(networks: Any) -> list[tuple[str, str | None, tuple[str, ...]]]:
    if networks is None:
        return [("default", None, ())]
    if isinstance(networks, list):
        return [(str(name), None, ()) for name in networks]
    return [(str(name), (each or {}).get("ipv4_address"), tuple((each or {}).get("aliases") or ())) for name, each in networks.items()]


def _files(service: Mapping[str, Any], configs: Mapping[str, Any], path: Path) -> dict[str, Path]:
    """Container path to host path, of bind mounts and configs."""
    files = {}
    for volume in service.get("volumes") or ():
        if isinstance(volume, str):
            source, _, rest = volume.partition(":")
            target = rest.split(":")[0]
        else:
            source, target = str(volume.get("source", "")), str(volume.get("target", ""))
        if source.startswith((".", "/")) and target:
            files[target] = (path.parent / source).resolve()
    for config in service.get("configs") or ():
        source, target = (config, f"/{config}") if isinstance(config, str) else (config["source"], config.get("target", f"/{config['source']}"))
        file = (configs.get(source) or {}).get("file")
        if file:
            files[str(target)] = (path.parent / file).resolve()
    return files


def _host_path(word: str, files: Mapping[str, Path]) -> str:
    for target, host in files.items():
        if word == target or word.startswith(target.rstrip("/") + "/"):
            return str(host) + word[len(target.rstrip("/")):]
    return word


def _environment(environment: Any) -> dict[str, str]:
    if isinstance(environment, list):
        return dict(str(each).partition("=")[::2] for each in environment)
    return {str(key): str(value) for key, value in (environment or {}).items()}


def _ordered(services: dict[str, Service], path: Path) -> dict[str, Service]:
    """Services after those they depend on."""
    ordered: dict[str, Service] = {}
    while len(ordered) < len(services):
        ready = [service for name, service in services.items() if name not in ordered
                 and all(each in ordered or each not in services for each in service.depends_on)]
        if not ready:
            raise ConfigError([f"{path}: services: depends_on goes in a circle"])
        for service in ready:
            ordered[service.name] = service
    return ordered
