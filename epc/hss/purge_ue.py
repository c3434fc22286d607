"""Purge UE: TS 29.272 clause 5.2.1.3. The MME has deleted what it knew of a UE that had long been detached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.diameter import ResultCode
from epc.wire.diameter.s6a import PuaFlags, PurgeUeAnswer, PurgeUeRequest

if TYPE_CHECKING:
    from epc.hss.node import Hss


async def purge_ue(hss: Hss, request: PurgeUeRequest) -> PurgeUeAnswer:
    subscriber = await hss.subscriber(request.user_name)
    # A UE that has moved on to another MME is not purged, and its old M-TMSI need not be kept from reuse.
    is_purged = await hss.store.set_purged(subscriber.imsi, mme_host=request.origin_host)
    return PurgeUeAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=hss.config.origin_host,
        origin_realm=hss.config.origin_realm, pua_flags=PuaFlags.FREEZE_M_TMSI if is_purged else PuaFlags(0))
