"""Notification: TS 29.272 clause 5.2.5.1. The MME tells which PDN GW serves an APN, or which terminal the subscriber uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.hss.store import PgwIdentity, Subscriber
from epc.hss.update_location import imeisv_of
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, ResultCode
from epc.wire.diameter.s6a import NotifyAnswer, NotifyRequest
from epc.wire.diameter.subscription import Mip6AgentInfo

if TYPE_CHECKING:
    from epc.hss.node import Hss


async def notify(hss: Hss, request: NotifyRequest) -> NotifyAnswer:
    subscriber = await hss.subscriber(request.user_name)
    if subscriber.mme_host is None or subscriber.mme_host.lower() != request.origin_host.lower():
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_SERVING_NODE, f"{request.origin_host} is not the serving MME")
    imeisv = imeisv_of(request.terminal_information)
    if imeisv is not None:
        await hss.store.set_imeisv(subscriber.imsi, imeisv)
    if request.mip6_agent_info is not None:
        await hss.store.set_pgw(
            subscriber.imsi, context_id=_context_id(subscriber, request), pgw=_pgw(request.mip6_agent_info))
    return NotifyAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=hss.config.origin_host,
        origin_realm=hss.config.origin_realm)


def _context_id(subscriber: Subscriber, request: NotifyRequest) -> int:
    """The APN meant: by its identifier, by name, or, for an APN that the subscription only covers by *, the wildcard."""
    by_id = {apn.context_id: apn.context_id for apn in subscriber.apns}
    by_name = {apn.apn: apn.context_id for apn in subscriber.apns}
    found = by_id.get(request.context_identifier or 0) or by_name.get((request.service_selection or "").lower()) or by_name.get("*")
    if found is None:
        raise Reject(ResultCode.DIAMETER_INVALID_AVP_VALUE, f"no APN {request.service_selection or request.context_identifier} in the subscription")
    return found


def _pgw(agent: Mip6AgentInfo) -> PgwIdentity | None:
    """None removes: the MME sends the unspecified address for a PDN GW that is no longer in use."""
    addresses = [address for address in agent.mip_home_agent_address if not address.is_unspecified]
    host = agent.mip_home_agent_host
    if not addresses and host is None:
        return None
    return PgwIdentity(
        host=host.destination_host if host else None, realm=host.destination_realm if host else None,
        address=str(addresses[0]) if addresses else None)
