"""Delete Subscriber Data: TS 29.272 clause 5.2.2.2. The HSS withdraws APNs, in the database and at the serving MME."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from epc.wire.diameter.s6a import DeleteSubscriberDataAnswer, DeleteSubscriberDataRequest, DsrFlags

if TYPE_CHECKING:
    from epc.hss.node import Hss


async def delete_subscriber_data(hss: Hss, imsi: str, context_ids: Sequence[int]) -> None:
    """Raises ``LookupError`` for an APN that is not there, ``ValueError`` for the default one, which every subscription needs."""
    subscriber = await hss.subscriber(imsi)
    missing = set(context_ids) - {apn.context_id for apn in subscriber.apns}
    if missing:
        raise LookupError(f"subscriber {imsi} has no APN with id {', '.join(map(str, sorted(missing)))}")
    if subscriber.default_context_id in context_ids:
        raise ValueError(f"{subscriber.default_context_id} is the default APN; cancel the location to end the service")
    remaining = tuple([apn for apn in subscriber.apns if apn.context_id not in context_ids])
    await hss.store.put(replace(subscriber, apns=remaining), replace=True)
    if subscriber.mme_host is None or subscriber.purged:
        return
    mme = hss.serving_mme(subscriber)
    await hss.ask(DeleteSubscriberDataRequest(
        session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
        destination_host=mme.host, destination_realm=mme.realm, user_name=subscriber.imsi,
        dsr_flags=DsrFlags.PDN_SUBSCRIPTION_CONTEXTS_WITHDRAWAL, context_identifier=tuple(context_ids)), DeleteSubscriberDataAnswer)
