"""Network namespaces without a name: they live as long as somebody holds them, so that nothing can be left behind."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

CLONE_NEWNET = 0x40000000
_HERE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def namespace_here() -> int:
    """A descriptor of the network namespace that the calling thread is in."""
    return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def entered(descriptor: int) -> Iterator[None]:
    """The calling thread is in that namespace. Takes CAP_SYS_ADMIN, unless it is there already. Do not let other tasks run meanwhile."""
    former = namespace_here()
    try:
        if os.path.sameopenfile(former, descriptor):
            yield
            return
        _check(_libc.setns(descriptor, CLONE_NEWNET), "entering a network namespace")
        try:
            yield
        finally:
            _check(_libc.setns(former, CLONE_NEWNET), "leaving a network namespace")
    finally:
        os.close(former)


class AnonymousNamespace:
    """A new network namespace; takes CAP_SYS_ADMIN. ``descriptor`` may be given to whoever moves devices into it."""

    def __init__(self) -> None:
        made: list[int | OSError] = []

        def make() -> None:
            try:
                _check(_libc.unshare(CLONE_NEWNET), "a network namespace")
                made.append(namespace_here())
            except OSError as error:
                made.append(error)

        maker = threading.Thread(target=make)       # only that thread changes its namespace, and ends
        maker.start()
        maker.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self.descriptor = made[0]

    def entered(self) -> AbstractContextManager[None]:
        """The calling thread is in the namespace; what it opens there stays there. Do not let other tasks run meanwhile."""
        return entered(self.descriptor)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind, protocol)

    def close(self) -> None:
        os.close(self.descriptor)
