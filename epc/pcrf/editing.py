"""Changes to a book of rules and policies: what it is afterwards, or what is wrong with the change.

``data`` is what a user wrote. Raises :class:`~epc.node.ConfigError` with one problem a line when it does not fit, :class:`InUse` when
something else needs what would go, ``LookupError`` for what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epc.node import parse_config
from epc.pcrf.pcc import Policy, PolicyBook, Rule, policy_name

SOURCE = "request"


class InUse(ValueError):
    """What would be removed is used by something else."""


def with_rule(book: PolicyBook, name: str, data: Mapping[str, Any]) -> PolicyBook:
    rule = parse_config(data, Rule, source=SOURCE)
    return _checked(book, rules=book.rules | {name: rule})


def without_rule(book: PolicyBook, name: str) -> PolicyBook:
    if name not in book.rules:
        raise LookupError(f"no rule {name}; there are {', '.join(sorted(book.rules)) or 'none'}")
    users = [f"policy {user}" for user, policy in book.named().items() if name in policy.rules]
    users += [f"rule {user}" for user, rule in book.rules.items() if rule.usage_limit is not None and rule.usage_limit.then == name and user != name]
    if users:
        raise InUse(f"rule {name} is used by {', '.join(users)}")
    return _checked(book, rules={other: rule for other, rule in book.rules.items() if other != name})


def with_policy(book: PolicyBook, name: str, data: Mapping[str, Any]) -> PolicyBook:
    """A new one comes last among those of its priority."""
    policy = parse_config({**data, "name": name}, Policy, source=SOURCE)
    policies = [(policy if other == name else old) for other, old in _by_place(book).items()]
    return _checked(book, policies=policies if name in _by_place(book) else [*policies, policy])


def without_policy(book: PolicyBook, name: str) -> PolicyBook:
    policies = _by_place(book)
    if name not in policies:
        raise LookupError(f"no policy {name}; there are {', '.join(policies) or 'none'}")
    users = [user for user, policy in policies.items() if user != name and policy.usage_limit is not None and policy.usage_limit.then == name]
    if users:
        raise InUse(f"policy {name} is used by policy {', '.join(users)}")
    return _checked(book, policies=[policy for other, policy in policies.items() if other != name])


def applied(book: PolicyBook, data: Mapping[str, Any], *, prune: bool = False) -> PolicyBook:
    """Everything in ``data`` (written like the configuration's ``policy``) added or changed; with ``prune`` what is not in it goes."""
    new = parse_config(data, PolicyBook, source=SOURCE)
    if prune:
        return new
    policies = _by_place(book) | _by_place(new)
    return _checked(book, rules=book.rules | new.rules, policies=list(policies.values()),
                    others=new.others if "others" in new.model_fields_set else book.others)


def _by_place(book: PolicyBook) -> dict[str, Policy]:
    """The policies in the order they are listed in; each knows its name."""
    named = [(policy_name(policy, number), policy) for number, policy in enumerate(book.policies, 1)]
    return {name: policy if policy.name else policy.model_copy(update={"name": name}) for name, policy in named}


def _checked(book: PolicyBook, **changed: Any) -> PolicyBook:
    """The whole book has to make sense."""
    parts = {"rules": book.rules, "policies": list(book.policies), "others": book.others} | changed
    return parse_config(parts, PolicyBook, source=SOURCE)
