"""Reads configuration files, and says exactly what is wrong with one: file, line, key, what is wrong, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

C = TypeVar("C", bound=BaseModel)

PATTERNS = {
    r"^\d{5,6}$": "must be five or six digits (MCC, then MNC)",
    r"^\d{6,15}$": "must be 6 to 15 digits",
    r"^\d{16}$": "must be 16 digits",
    r"^\d{1,15}$|^\d{0,14}\*$": "must be up to 15 digits, or the first ones and a *",
    r"^[0-9a-fA-F]{32}$": "must be 32 hexadecimal digits (16 octets)",
    r"^[0-9a-fA-F]{64}$": "must be 64 hexadecimal digits (32 octets)",
    r"^([0-9a-fA-F]{32}|[0-9a-fA-F]{64})$": "must be 32 or 64 hexadecimal digits (16 or 32 octets)",
    r"^permit out (ip|\d{1,3}) from \S.* to \S.*$": "must be like `permit out 17 from 10.0.0.1 53 to assigned` (TS 29.212 clause 5.4.2)",
}
_SUBJECT = re.compile(r"^\w+ should ")         # how pydantic's messages begin: Input should, String should, ...
_VALIDATORS = ("function-after", "function-before", "function-wrap")   # pydantic puts them among the keys


class ConfigError(Exception):
    """A configuration file is wrong; ``problems`` are lines ready to print: file, line, key, what is wrong, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Place(NamedTuple):
    """Where a key stands in a file; ``text`` is its value as written, if it is neither a list nor a mapping."""

    line: int
    text: str | None


def load_config(path: Path, model: type[C]) -> C:
    """Read one YAML file into ``model``. Raises :class:`ConfigError` with one line a problem."""
    data, root = read_yaml(path)
    return parse_config(data, model, source=str(path), root=root)


def read_yaml(path: Path) -> tuple[dict[str, Any], yaml.MappingNode]:
    """The mapping in a YAML file, and the composed nodes that know its line numbers. Raises :class:`ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not text in UTF-8: {error.reason} at octet {error.start}"]) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError([f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}"]) from None
    except ValueError as error:     # such as the 30th of February
        raise ConfigError([f"{path}: not YAML: {error}"]) from None
    if not isinstance(data, dict) or not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{path}:1: a mapping of keys to values is needed"])
    twice = [f"{path}:{line}: {key}: is given twice; first in line {first}" for key, line, first in _repeated(root, ())]
    if twice:
        raise ConfigError(twice)
    return data, root


def _repeated(node: yaml.Node, keys: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Keys that a mapping has twice (YAML would silently keep the last one), with both lines."""
    found = []
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                found.append((".".join((*keys, key.value)), line, lines[key.value]))
            lines[key.value] = line
            found += _repeated(value, (*keys, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            found += _repeated(value, (*keys, str(i)))
    return list(dict.fromkeys(found))


def parse_config(data: Mapping[str, Any], model: type[C], *, source: str, root: yaml.Node | None = None, within: str = "") -> C:
    """Validate ``data``; ``root`` (the composed YAML) gives the line numbers of the complaints, ``within`` is the key that holds ``data``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = []
        details = error.errors(include_url=False)
        for detail in details:
            loc = detail["loc"]
            if detail["type"] == "too_short" and any(len(other["loc"]) > len(loc) and other["loc"][:len(loc)] == loc for other in details):
                continue        # its entries are wrong, not too few
            keys = [part for part in loc if part not in _VALIDATORS]
            place = _place(root, keys)
            where = f"{source}:{place.line}" if place is not None else source
            key = ".".join(str(part) for part in ([within] if within else []) + keys) or "(top)"
            problems.append(f"{where}: {key}: {_explain(detail, model, keys, place)}")
        raise ConfigError(problems) from None


def _explain(detail: Any, model: type[BaseModel], keys: Sequence[int | str], place: _Place | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _fields_at(model, keys[:-1])
        close = difflib.get_close_matches(str(keys[-1]), allowed, n=1)
        return ("unknown key" + (f", perhaps {close[0]!r}" if close else "") + (f"; allowed here: {', '.join(allowed)}" if allowed else ""))
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return f"needs at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        allowed = _fields_at(model, keys)
        message = "must be a mapping" + (f" with some of the keys {', '.join(allowed)}" if allowed else "")
    elif kind == "string_pattern_mismatch" and context["pattern"] in PATTERNS:
        message = PATTERNS[context["pattern"]]
    else:
        message = detail["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        message = _SUBJECT.sub("must ", message)
    return message + _given(detail.get("input"), place)


def _given(value: object, place: _Place | None) -> str:
    if value is None:
        return ", not empty"
    if isinstance(value, str):
        return f", not {value!r}"
    if isinstance(value, int | float | bool):
        return f", not {place.text if place is not None and place.text is not None else value}"
    return ""


def _fields_at(model: type[BaseModel], keys: Sequence[int | str]) -> list[str]:
    """Names of the fields of the model that sits at ``keys``."""
    at: Any = model
    free_name = False       # the next key is a name that the file's author chose
    for key in keys:
        if isinstance(key, int):
            continue
        if free_name:
            free_name = False
            continue
        field = getattr(at, "model_fields", {}).get(key)
        if field is None:
            return []
        at, free_name = _model_in(field.annotation), _is_mapping(field.annotation)
    return [] if free_name else sorted(field.alias or name for name, field in getattr(at, "model_fields", {}).items())


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin in (dict, Mapping) or (origin in (Union, UnionType, Annotated) and any(map(_is_mapping, get_args(annotation))))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _place(root: yaml.Node | None, keys: Sequence[int | str]) -> _Place | None:
    """The deepest node on the way to ``keys``."""
    if root is None:
        return None
    node, line, reached = root, root.start_mark.line + 1, True
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == str(key):
                    node, line = value, name.start_mark.line + 1
                    break
            else:
                reached = False
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            reached = False
            break
    return _Place(line, node.value if reached and isinstance(node, yaml.ScalarNode) else None)
