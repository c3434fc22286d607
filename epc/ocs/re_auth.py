"""The OCS speaks first: ask again for quota (RAR), or end the session (ASR). RFC 8506 clause 5.5, RFC 6733 clause 8.5."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.ocs.store import Books, CreditSession
from epc.procedure import Outcome, procedure
from epc.wire.diameter import GY_APPLICATION
from epc.wire.diameter.base import AbortSessionAnswer, AbortSessionRequest
from epc.wire.diameter.gy import ReAuthAnswer, ReAuthRequest

if TYPE_CHECKING:
    from epc.ocs.node import Ocs

UNHEARD = (Outcome.TIMEOUT, Outcome.ABORTED)        # it may not even have come
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@procedure(spec="RFC 8506 clause 5.5")
async def re_authorisation(ocs: Ocs, session: CreditSession) -> None:
    """Have the gateway report and ask again for all services of a session."""
    await ocs.ask(session, ReAuthRequest(
        session_id=session.session_id, origin_host=ocs.config.origin_host, origin_realm=ocs.config.origin_realm,
        destination_realm=session.peer_realm, destination_host=session.peer_host), ReAuthAnswer)


@procedure(spec="RFC 8506 clause 5.5")
async def repeated_re_authorisation(ocs: Ocs, session: CreditSession) -> None:
    """The gateway did not answer: it is asked again while the session stands, for its user would go without what has been paid for."""
    for pause_s in _PAUSES_S:
        await asyncio.sleep(pause_s)
        async with ocs.store.transaction() as transaction:
            current = await Books(transaction).session(session.session_id)
        if current is None or current.closed_ms is not None:
            return
        if await ocs.runner.start(re_authorisation, ocs, current) not in UNHEARD:
            return


@procedure(spec="RFC 8506 clause 5.5")
async def offer_released_credit(ocs: Ocs, imsi: str) -> None:
    """A session has ended and given money back: sessions of the same account that had run out of it may ask again."""
    async with ocs.store.transaction() as transaction:
        books = Books(transaction)
        account = await books.account(imsi)
        sessions = await books.exhausted_sessions(imsi) if account is not None and account.available > 0 else []
    for session in sessions:
        if await ocs.runner.start(re_authorisation, ocs, session) in UNHEARD:
            ocs.runner.start(repeated_re_authorisation, ocs, session)


@procedure(spec="RFC 6733 clause 8.5.1")
async def abort_session(ocs: Ocs, session: CreditSession) -> None:
    """Have the gateway end a session, which it confirms with a termination request of its own."""
    await ocs.ask(session, AbortSessionRequest(
        session_id=session.session_id, origin_host=ocs.config.origin_host, origin_realm=ocs.config.origin_realm,
        destination_realm=session.peer_realm, destination_host=session.peer_host, auth_application_id=GY_APPLICATION), AbortSessionAnswer)
