"""Who is it? The identification procedure: TS 24.301 clause 5.4.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Reject
from epc.wire import nas
from epc.wire.identity import Imsi

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def identify(mme: Mme, ue: UeContext) -> Imsi:
    """The IMSI, asked of the phone. Raises :class:`Reject` when it answers with something else."""
    answer = await ue.nas.request(nas.IdentityRequest(identity_type=nas.IdentityType.IMSI), nas.IdentityResponse, timer=mme.timers.t3470)
    return imsi_of(answer.mobile_identity)


def imsi_of(identity: nas.EpsMobileIdentity | nas.MobileIdentity) -> Imsi:
    """The IMSI in an identity, if it is one: TS 23.003 clause 2.2. Raises :class:`Reject`."""
    match identity:
        case nas.ImsiIdentity(imsi=digits) if 6 <= len(digits) <= 15:
            return Imsi(digits)
        case _:
            raise Reject(nas.EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK, "the phone did not tell its IMSI")
