"""One ESM message each for several bearers, and the phone's answers to all of them (TS 24.301 clauses 6.4.2.6 a, 6.4.3.6 a, 6.4.4.5 a)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from epc.peer.timer import Timer
from epc.procedure import TimerExpired
from epc.wire import nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

A = TypeVar("A", bound=nas.EsmMessage)


async def answers(mme: Mme, ue: UeContext, requests: Mapping[int, nas.EsmMessage], *types: type[A], timer: Timer) -> dict[int, A]:
    """What the phone answered, by bearer. ``requests`` are with the phone already; each is sent again whenever ``timer`` runs out.

    A bearer whose request stays unanswered to the end is not in the result.
    """
    found: dict[int, A] = {}
    loop = asyncio.get_running_loop()
    for attempt in range(timer.retries + 1):
        if attempt:
            for ebi in requests.keys() - found.keys():
                mme.metrics.retransmission("NAS", type(requests[ebi]).__name__)
                ue.nas.send(requests[ebi])
        expiry = loop.time() + timer.seconds
        while len(found) < len(requests) and (left_s := expiry - loop.time()) > 0:
            try:
                answer = await ue.nas.wait(*types, timer=timer._replace(seconds=left_s))
            except TimerExpired:
                break
            if answer.eps_bearer_identity in requests:
                found[answer.eps_bearer_identity] = answer
        if len(found) == len(requests):
            break
    return found
