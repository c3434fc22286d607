"""Where the phone is, for a PGW that asked to hear of it: TS 23.401 clause 5.9.2, TS 29.274 clause 7.3.14."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Reject, procedure
from epc.wire import gtpv2
from epc.wire.gtpv2 import CauseValue, ChangeNotificationRequest, ChangeNotificationResponse, ChangeReportingAction, RatType, Uli
from epc.wire.identity import Ebi

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import PdnConnection, SgwSession, UeContext

_Action = ChangeReportingAction
_CELLS = (_Action.START_REPORTING_ECGI, _Action.START_REPORTING_TAI_AND_ECGI)
_AREAS = (_Action.START_REPORTING_TAI, _Action.START_REPORTING_TAI_AND_ECGI)


def is_to_be_told(pdn: PdnConnection, uli: Uli) -> bool:
    """The PGW wants to know, and what it knows is no longer so."""
    known, action = pdn.reported_uli, pdn.change_reporting_action
    if known is None:
        return action in (*_CELLS, *_AREAS)
    return (action in _CELLS and known.ecgi != uli.ecgi) or (action in _AREAS and known.tai != uli.tai)


def take_action(pdn: PdnConnection, action: ChangeReportingAction | int | None) -> None:
    """What the PGW says about it in an answer or a request; nothing: as before."""
    if action is not None:
        pdn.change_reporting_action = action


def report_location(mme: Mme, ue: UeContext) -> None:
    """After a procedure that had no message for the SGW to say it with."""
    session, location = ue.session, ue.location
    if session is None or location is None:
        return
    for pdn in session.pdns.values():
        if is_to_be_told(pdn, location.uli):
            pdn.reported_uli = location.uli
            mme.runner.start(change_notification, mme, session, pdn, location.uli)


@procedure(spec="TS 23.401 clause 5.9.2, TS 29.274 clause 7.3.14")
async def change_notification(mme: Mme, session: SgwSession, pdn: PdnConnection, uli: Uli) -> None:
    request = ChangeNotificationRequest(rat_type=RatType.EUTRAN, uli=uli, linked_ebi=Ebi(pdn.linked_ebi))
    answer = (await mme.s11.endpoint.request(session.sgw, session.s11_sgw_teid, request)).message
    if not isinstance(answer, ChangeNotificationResponse) or not answer.cause.is_accepted:
        cause = answer.cause.value if isinstance(answer, ChangeNotificationResponse) else CauseValue.INVALID_REPLY_FROM_REMOTE_PEER
        raise Reject(gtpv2.CauseValue(cause) if cause in list(CauseValue) else cause, "the gateways did not take the location")
    take_action(pdn, answer.change_reporting_action)
