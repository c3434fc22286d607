"""The MME has forgotten a phone, and says so: TS 23.401 clause 5.3.9.3, TS 29.272 clause 5.2.1.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import procedure

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(spec="TS 29.272 clause 5.2.1.3")
async def purge_ue(mme: Mme, ue: UeContext) -> None:
    if mme.ues.by_imsi.get(ue.known_imsi) is None:      # it may have come back meanwhile
        await mme.s6a.purge_ue(ue)
