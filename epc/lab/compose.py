"""A compose file without a container engine: the same services, commands, networks and names, in network namespaces.

What of the compose specification is understood: ``services`` with ``command``, ``networks`` (list, or mapping with ``ipv4_address`` and
``aliases``), ``volumes`` and ``configs`` that bring files, ``environment``, ``depends_on``, ``cap_add`` and ``privileged``; ``networks`` with
``ipam`` subnets; top-level ``configs`` with ``file``.
Services whose image is not epclab's (Prometheus, Grafana) are left to a real engine, and said so.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from epc.lab.kinds import KINDS, default_config
from epc.node import ConfigError, parse_config
from epc.node.config_file import read_yaml

CAPABILITIES = ("NET_ADMIN", "BPF", "PERFMON")


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
    command: tuple[str, ...]            # with container paths replaced by those of this host, and --config always given
    config: Path
    attachments: tuple[Attachment, ...]
    environment: Mapping[str, str]
    depends_on: tuple[str, ...]
    capabilities: tuple[str, ...]       # those of ``CAPABILITIES`` that it has: NET_ADMIN makes TUN devices, with BPF and PERFMON programs run
    privileged: bool                    # has all there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    name: str
    path: Path
    networks: Mapping[str, ipaddress.IPv4Network]
    services: Mapping[str, Service]
    left_out: tuple[str, ...]           # services of other projects' images


class _Part(BaseModel):
    """A part of the file; what is not named here is a container engine's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _subnet(text: str) -> str:
    ipaddress.ip_network(text)
    return text


def _by_name(value: object) -> object:
    """Lists of names are short for mappings without details."""
    return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else value


def _words(value: object) -> object:
    return shlex.split(value) if isinstance(value, str) else value if value is not None else []


def _mount(value: object) -> object:
    if not isinstance(value, str):
        return value
    source, _, target = value.partition(":")
    return {"source": source, "target": target.split(":")[0]}


def _use(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


def _assignments(value: object) -> object:
    return dict(str(each).partition("=")[::2] for each in value) if isinstance(value, list) else value


class _Range(_Part):
    subnet: Annotated[str, AfterValidator(_subnet)] | None = None


class _Ipam(_Part):
    config: tuple[_Range, ...] = ()


class _Network(_Part):
    ipam: _Ipam = _Ipam()


class _Wish(_Part):
    """What a service wants of a network."""

    ipv4_address: ipaddress.IPv4Address | None = None
    aliases: tuple[str, ...] = ()


class _Mount(_Part):
    source: str = ""
    target: str = ""


class _ConfigUse(_Part):
    source: str
    target: str | None = None


class _ConfigFile(_Part):
    file: str | None = None


class _Service(_Part):
    command: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    networks: Annotated[dict[str, _Wish | None], BeforeValidator(_by_name)] = {"default": None}
    volumes: tuple[Annotated[_Mount, BeforeValidator(_mount)], ...] = ()
    configs: tuple[Annotated[_ConfigUse, BeforeValidator(_use)], ...] = ()
    environment: Annotated[dict[str, str | int | float | bool | None], BeforeValidator(_assignments)] = {}
    depends_on: Annotated[dict[str, object], BeforeValidator(_by_name)] = {}
    cap_add: tuple[str, ...] = ()
    privileged: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ``epclab`` is called with: the image's entry point is ``epclab``, but a command may say it again."""
        return self.command[1:] if self.command[:1] == ("epclab",) else self.command


class _File(_Part):
    name: str | None = None
    services: dict[str, _Service]
    networks: dict[str, _Network | None] = {"default": None}
    configs: dict[str, _ConfigFile] = {}


def load_compose(path: Path) -> Compose:
    """Raises :class:`ConfigError`."""
    data, root = read_yaml(path)
    file = parse_config(data, _File, source=str(path), root=root)
    networks = {name: _range(i, network or _Network()) for i, (name, network) in enumerate(file.networks.items())}
    ours = {name: service for name, service in file.services.items() if service.arguments[:1] and service.arguments[0] in KINDS}
    if not ours:
        raise ConfigError([f"{path}: services: none of them runs an epclab node (command: [mme, ...])"])
    problems = []
    taken: dict[str, set[ipaddress.IPv4Address]] = {name: {next(network.hosts())} for name, network in networks.items()}
    for name, service in ours.items():
        for each, wish in service.networks.items():
            if each not in networks:
                problems.append(f"{path}: services.{name}.networks: {each!r} is not among the networks: {', '.join(networks)}")
            elif wish is not None and wish.ipv4_address is not None:
                if wish.ipv4_address not in networks[each]:
                    problems.append(f"{path}: services.{name}.networks.{each}.ipv4_address: {wish.ipv4_address} is not in {networks[each]}")
                taken[each].add(wish.ipv4_address)
    if problems:
        raise ConfigError(problems)
    found = {}
    for name, service in ours.items():
        attachments = []
        for each, wish in service.networks.items():
            wish = wish or _Wish()
            address = wish.ipv4_address or next(host for host in networks[each].hosts() if host not in taken[each])
            taken[each].add(address)
            attachments.append(Attachment(network=each, address=address, names=(name, *wish.aliases)))
        command = service.arguments
        if "--config" not in command[:-1]:
            command = (*command, "--config", default_config(command[0]))
        files = _files(service, file.configs, path)
        command = tuple(_host_path(word, files) for word in command)
        found[name] = Service(
            name=name, kind=command[0], command=command, config=Path(command[command.index("--config") + 1]), attachments=tuple(attachments),
            environment={key: "" if value is None else str(value) for key, value in service.environment.items()},
            depends_on=tuple(service.depends_on), capabilities=tuple(each for each in CAPABILITIES if each in service.cap_add),
            privileged=service.privileged)
    return Compose(name=file.name or path.stem, path=path, networks=networks, services=_ordered(found, path),
                   left_out=tuple(name for name in file.services if name not in ours))


def _range(number: int, network: _Network) -> ipaddress.IPv4Network:
    """The network's first IPv4 range, or one of our choice as an engine would choose one."""
    subnets = [each.subnet for each in network.ipam.config if each.subnet is not None and "." in each.subnet]
    return ipaddress.IPv4Network(subnets[0] if subnets else f"172.31.{number}.0/24")


def _files(service: _Service, configs: Mapping[str, _ConfigFile], path: Path) -> dict[str, Path]:
    """Container path to host path, of bind mounts and configs."""
    files = {
        mount.target: (path.parent / mount.source).resolve() for mount in service.volumes if mount.source.startswith((".", "/")) and mount.target}
    for use in service.configs:
        file = configs[use.source].file if use.source in configs else None
        if file is not None:
            files[use.target or f"/{use.source}"] = (path.parent / file).resolve()
    return files


def _host_path(word: str, files: Mapping[str, Path]) -> str:
    for target, host in files.items():
        if word == target or word.startswith(target.rstrip("/") + "/"):
            return str(host) + word[len(target.rstrip("/")):]
    return word


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
