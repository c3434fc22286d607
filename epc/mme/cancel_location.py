"""The HSS withdraws a phone's registration: TS 29.272 clause 5.2.1.2, TS 23.401 clauses 5.3.8.4 and 5.3.3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.detach import implicit_detach, network_initiated_detach
from epc.procedure import Collision
from epc.wire import nas
from epc.wire.diameter import ResultCode, s6a

if TYPE_CHECKING:
    from epc.mme.node import Mme


def cancel_location(mme: Mme, request: s6a.CancelLocationRequest) -> ResultCode:
    """Begin what the cancellation asks for; the answer does not wait for it. A phone that is not known is as good as cancelled."""
    ue = mme.ues.by_imsi.get(request.user_name)
    if ue is None:
        return ResultCode.DIAMETER_SUCCESS
    ue.location_confirmed_in_hss = False
    if request.cancellation_type == s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL and ue.is_registered:
        wanted_back = request.clr_flags is not None and s6a.ClrFlags.REATTACH_REQUIRED in request.clr_flags
        detach_type = nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED if wanted_back else nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED
        cause = None if wanted_back else nas.EmmCause.EPS_SERVICES_NOT_ALLOWED
        ue.slot.start(network_initiated_detach, mme, ue, detach_type, cause, collision=Collision.REPLACE)
    else:       # another MME serves the phone now, or it was detached already: it is not told
        ue.slot.start(implicit_detach, mme, ue, "location cancelled", collision=Collision.REPLACE)
    return ResultCode.DIAMETER_SUCCESS
