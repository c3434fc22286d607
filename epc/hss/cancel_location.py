"""Cancel Location: TS 29.272 clause 5.2.1.2. The HSS makes an MME forget a subscriber."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.hss.store import Subscriber
from epc.procedure import procedure
from epc.wire.diameter.s6a import CancellationType, CancelLocationAnswer, CancelLocationRequest, ClrFlags

if TYPE_CHECKING:
    from epc.hss.node import Hss


@procedure(spec="TS 29.272 clause 5.2.1.2")
async def cancel_location(
    hss: Hss, subscriber: Subscriber, cancellation_type: CancellationType, flags: ClrFlags = ClrFlags.S6A_S6D_INDICATOR,
) -> None:
    """Tell the MME that ``subscriber`` is registered with. What it does not answer changes nothing here: the new registration stands."""
    mme = hss.serving_mme(subscriber)
    await hss.ask(CancelLocationRequest(
        session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
        destination_host=mme.host, destination_realm=mme.realm, user_name=subscriber.imsi, cancellation_type=cancellation_type,
        clr_flags=flags), CancelLocationAnswer)


async def withdraw(hss: Hss, imsi: str, *, reattach_required: bool) -> None:
    """The operator's wish: the MME detaches the UE, which may or must come back. Raises what the request raises."""
    subscriber = await hss.subscriber(imsi)
    flags = ClrFlags.S6A_S6D_INDICATOR | (ClrFlags.REATTACH_REQUIRED if reattach_required else ClrFlags(0))
    await cancel_location.run(hss, subscriber, CancellationType.SUBSCRIPTION_WITHDRAWAL, flags)
    await hss.store.deregister_mme(subscriber.imsi)
