"""A conversation with one peer entity: send, expect, and request with retransmission."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from epc.peer.timer import Timer, TimerExpired

M = TypeVar("M")


class Dialogue:
    """One conversation with one peer entity about one UE, with selective receive.

    ``send`` is the function that puts a message on the wire. Whatever arrives is given to :meth:`feed`.
    """

    __slots__ = ("_inbox", "_send", "_waiters")

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._waiters: list[tuple[tuple[type, ...], asyncio.Future[Any]]] = []
        self._inbox: list[Any] = []

    def send(self, message: object) -> None:
        self._send(message)

    def feed(self, message: object, *, keep: bool = False) -> bool:
        """Give a received message to whoever awaits its type; else ``keep`` it for a later :meth:`expect`. False: nobody wants it."""
        for i, (types, future) in enumerate(self._waiters):
            if isinstance(message, types):
                del self._waiters[i]
                if not future.done():
                    future.set_result(message)
                    return True
                return self.feed(message, keep=keep)
        if keep:
            self._inbox.append(message)
        return keep

    def expect(self, *types: type[M]) -> asyncio.Future[M]:
        """The next message of one of ``types``, kept ones first."""
        future: asyncio.Future[M] = asyncio.get_running_loop().create_future()
        for i, message in enumerate(self._inbox):
            if isinstance(message, types):
                del self._inbox[i]
                future.set_result(message)
                return future
        self._waiters.append((types, future))
        return future

    async def wait(self, *types: type[M], timer: Timer) -> M:
        """Like :meth:`expect` but raises :class:`TimerExpired` after ``timer.seconds``; nothing is sent."""
        return await self._await(None, types, timer)

    async def request(self, message: object, *replies: type[M], timer: Timer) -> M:
        """Send ``message``, again whenever ``timer`` runs out, until one of ``replies`` arrives.

        Raises :class:`TimerExpired` when the last retransmission stays unanswered too. The wait is armed before the first
        transmission, since a reply may come at once. Replies kept from before are stale and are dropped.
        """
        self._inbox = [kept for kept in self._inbox if not isinstance(kept, replies)]
        return await self._await(message, replies, timer)

    async def _await(self, message: object, types: tuple[type[M], ...], timer: Timer) -> M:
        reply = self.expect(*types)
        attempt = _Attempt(self._send, message, reply, timer)
        try:
            attempt.start()
            return await reply
        finally:
            attempt.stop()
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not reply]

    def close(self, error: Exception) -> None:
        """The link is gone: everybody who waits gets ``error``, and what was kept is dropped."""
        waiters, self._waiters = self._waiters, []
        self._inbox.clear()
        for _, future in waiters:
            if not future.done():
                future.set_exception(error)

    @property
    def waits(self) -> int:
        """How many receives are pending; 0 for an idle dialogue."""
        return len(self._waiters)


class _Attempt:
    """Sends and resends one message. An object, since a closure that names itself is a reference cycle."""

    __slots__ = ("handle", "left", "message", "reply", "send", "timer")

    def __init__(self, send: Callable[[Any], None], message: object, reply: asyncio.Future[Any], timer: Timer) -> None:
        self.send = send
        self.message = message
        self.reply = reply
        self.timer = timer
        self.left = timer.retries if message is not None else 0
        self.handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self.reply.done():
            return
        self.handle = self.reply.get_loop().call_later(self.timer.seconds, self.expired)
        if self.message is not None:
            self.send(self.message)

    def expired(self) -> None:
        if self.reply.done():
            return
        if not self.left:
            self.reply.set_exception(TimerExpired(self.timer))
            return
        self.left -= 1
        self.handle = self.reply.get_loop().call_later(self.timer.seconds, self.expired)
        try:
            self.send(self.message)
        except ConnectionError as error:
            self.reply.set_exception(error)

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
