"""Stands in for the ``cython`` module where Cython is not installed: the decorators do nothing."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

compiled = False


def cclass(decorated: T) -> T:
    return decorated


def cfunc(decorated: T) -> T:
    return decorated
