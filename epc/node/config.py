"""Configuration that every node has, and the loader that says exactly what is wrong with a file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from epc.transport.interface import Address
from epc.transport.sctp.settings import PROFILES, Engine, SctpSettings, Wire


class Section(BaseModel):
    """Base of every configuration model: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _host(text: str) -> str:
    """An IP address, or a name that the resolver knows (as container networks give to services)."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        labels = text.rstrip(".").split(".")
        if all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit():
            return text
        raise ValueError("neither an IP address nor a host name") from None


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class HostField:
    """Marks a field that holds a host, so that names can be resolved before a node sees them."""


def _quoted(value: object) -> object:
    """YAML reads 001010000000001 as an octal number."""
    if isinstance(value, int):
        raise ValueError("must be in quotes: these are digits, not a number")
    return value


Host = Annotated[str, AfterValidator(_host), HostField()]
Port = Annotated[int, Field(ge=1, le=65535)]
Digits = Annotated[str, BeforeValidator(_quoted)]
PlmnDigits = Annotated[Digits, StringConstraints(pattern=r"^\d{5,6}$")]
ImsiDigits = Annotated[Digits, StringConstraints(pattern=r"^\d{6,15}$")]
Seconds = Annotated[float, Field(gt=0)]


class Endpoint(Section):
    """Where a server listens or a peer is found."""

    host: Host
    port: Port

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class AdminConfig(Section):
    """The HTTP side of a node: /metrics, /healthz, /readyz and the state that ``epclab ctl`` shows. ``port: 0`` picks a free one."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9090


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class SctpConfig(Section):
    """SCTP: ``wire`` must be what the peers use, ``engine`` is this host's own choice."""

    wire: Literal["both", "ip", "udp"] = "both"
    engine: Literal["auto", "kernel", "usrsctp"] = "auto"
    profile: Literal["lab", "3gpp"] = "lab"
    udp_port: Port = 9899

    def settings(self) -> SctpSettings:
        """For the transport. Servers listen on both wires when ``wire`` is both; associations are opened on UDP unless it is ip."""
        return SctpSettings(
            wire=Wire.IP if self.wire == "ip" else Wire.UDP, engine=Engine(self.engine), profile=PROFILES[self.profile],
            listen_wires=None if self.wire == "both" else (Wire(self.wire),), udp_port=self.udp_port)


class NodeConfig(Section):
    """What every node's file may contain."""

    kind: str | None = Field(default=None, description="mme, hss, sgw, ...; needed where the context does not say it")
    name: str = Field(min_length=1, max_length=150, description="the node's name in logs, captures and ladders")
    admin: AdminConfig = AdminConfig()
    log: LogConfig = LogConfig()
    sctp: SctpConfig = SctpConfig()
    capture: Path | None = Field(default=None, description="write every packet of this node to this pcapng file")
    state_directory: Path | None = Field(default=None, description="where restart counters and databases live; default: nowhere, forgotten at exit")


class ConfigError(Exception):
    """A configuration file is wrong; ``problems`` are lines ready to print: file, line, key, what is wrong, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


C = TypeVar("C", bound=BaseModel)


def load_config(path: Path, model: type[C]) -> C:
    """Read one YAML file into ``model``. Raises :class:`ConfigError` with one line a problem."""
    data, root = read_yaml(path)
    return parse_config(data, model, source=str(path), root=root)


def read_yaml(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """The mapping in a YAML file, and the composed nodes that know its line numbers."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError([f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}"]) from None
    if not isinstance(data, dict) or root is None:
        raise ConfigError([f"{path}:1: a mapping of keys to values is needed"])
    return data, root


def parse_config(data: Mapping[str, Any], model: type[C], *, source: str, root: yaml.Node | None = None) -> C:
    """Validate ``data``; ``root`` (the composed YAML) gives the line numbers of the complaints."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            keys = [part for part in detail["loc"] if part not in ("function-after", "function-before")]
            line = _line(root, keys)
            key = ".".join(str(part) for part in keys) or "(top)"
            problems.append(f"{source}{f':{line}' if line else ''}: {key}: {_explain(cast(dict[str, Any], detail), model, keys)}")
        raise ConfigError(problems) from None


def _explain(detail: dict[str, Any], model: type[BaseModel], keys: list[Any]) -> str:
    message: str = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        allowed = _fields_at(model, keys[:-1])
        return "unknown key" + (f"; allowed here: {', '.join(allowed)}" if allowed else "")
    if detail["type"] == "missing":
        return "is missing"
    given = detail.get("input")
    return message[0].lower() + message[1:] + (f", not {given!r}" if isinstance(given, str | int | float | bool) else "")


def _fields_at(model: type[BaseModel], keys: list[Any]) -> list[str]:
    """Names of the fields of the model that sits at ``keys``."""
    at: Any = model
    for key in keys:
        if isinstance(key, int):
            continue
        field = getattr(at, "model_fields", {}).get(key)
        if field is None:
            return []
        at = _model_in(field.annotation)
    return sorted(getattr(at, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _line(root: yaml.Node | None, keys: list[Any]) -> int | None:
    """Line of the deepest node on the way to ``keys``."""
    if root is None:
        return None
    node, line = root, root.start_mark.line + 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == str(key):
                    node, line = value, name.start_mark.line + 1
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line
