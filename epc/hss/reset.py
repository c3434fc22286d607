"""Reset: TS 29.272 clause 5.2.4.1. After the HSS has lost registrations, MMEs must update the location of its subscribers again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.diameter.s6a import ResetAnswer, ResetRequest

if TYPE_CHECKING:
    from epc.hss.node import Hss


async def reset(hss: Hss, mme_host: str, mme_realm: str, *, imsi_prefixes: tuple[str, ...] = ()) -> None:
    """Tell one MME; without prefixes every subscriber of this HSS is meant."""
    await hss.ask(ResetRequest(
        session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
        destination_host=mme_host, destination_realm=mme_realm, user_id=imsi_prefixes), ResetAnswer)
