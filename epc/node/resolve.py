"""Host names in a configuration become addresses before the node is made, as container networks need it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from epc.node.config import HostField
from epc.node.config_file import ConfigError

C = TypeVar("C", bound=BaseModel)


def host_names(config: BaseModel) -> set[str]:
    """Every name (not address) in fields of type ``Host``."""
    names: set[str] = set()
    _walk(config, names.add)
    return names


async def resolve_hosts(config: C, *, patience_s: float = 30.0) -> C:
    """``config`` with every host name replaced by its address; names of services that start later get ``patience_s`` to appear."""
    names = host_names(config)
    if not names:
        return config
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    found: dict[str, str] = {}
    for name in sorted(names):
        while name not in found:
            try:
                answers = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            except socket.gaierror as error:
                if loop.time() >= end:
                    raise ConfigError([f"{name}: {error.strerror}"]) from None
                await asyncio.sleep(0.5)
            else:
                answers.sort(key=lambda answer: answer[0] != socket.AF_INET)
                found[name] = str(answers[0][4][0])
    return cast(C, _resolved(config, found))


def _is_name(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return True
    return False


def _hosts(model: BaseModel) -> list[str]:
    return [name for name, field in type(model).model_fields.items() if any(isinstance(mark, HostField) for mark in field.metadata)]


def _walk(value: Any, found: Any) -> None:
    if isinstance(value, BaseModel):
        for name in _hosts(value):
            host = getattr(value, name)
            if isinstance(host, str) and _is_name(host):
                found(host)
        for name in type(value).model_fields:
            _walk(getattr(value, name), found)
    elif isinstance(value, dict):
        for each in value.values():
            _walk(each, found)
    elif isinstance(value, list | tuple):
        for each in value:
            _walk(each, found)


def _resolved(value: Any, found: dict[str, str]) -> Any:
    """``value`` with addresses for names. Nothing is validated again: what was read from text (money, say) would be read as text once more."""
    if isinstance(value, BaseModel):
        hosts = _hosts(value)
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        fields = {name: found.get(old, old) if name in hosts else _resolved(old, found) for name, old in fields.items()}
        return type(value).model_construct(value.model_fields_set, **fields)
    if isinstance(value, dict):
        return {key: _resolved(each, found) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_resolved(each, found) for each in value)
    return value
