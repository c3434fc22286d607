"""What the EMM causes of ATTACH, TRACKING AREA UPDATE and SERVICE REJECT do to the UE's registration data, as one table.

TS 24.301 clauses 5.5.1.2.5, 5.5.3.2.5 and 5.6.1.5. Left out: T3247 and the counters for rejects without integrity protection
(clause 5.3.7b), CSG (#25) and redirection to 5GC (#31), which end like any other abnormal case.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from epc.wire import nas
from epc.wire.nas import EmmCause
from ran.ue.state import EmmState, EmmSubstate, UpdateStatus

if TYPE_CHECKING:
    from ran.ue.ue import Ue


class Forbidden(Enum):
    """Which list the network's answer extends."""

    NOTHING = 0
    PLMN = 1                # "forbidden PLMNs", kept on the USIM
    PLMN_FOR_EPS = 2        # "forbidden PLMNs for GPRS service", kept until the UE is switched off, as are the following
    TRACKING_AREA_FOR_ROAMING = 3
    TRACKING_AREA_FOR_REGION = 4        # "forbidden tracking areas for regional provision of service"


class Effect(NamedTuple):
    """What follows from a cause. Where it is no abnormal case, GUTI, TAI list, last visited TAI and keys may go as ``deletes`` says."""

    deletes: bool
    status: UpdateStatus
    substate: EmmSubstate
    forbidden: Forbidden = Forbidden.NOTHING
    usim_invalid: bool = False
    attach_again: bool = False


_EU2, _EU3 = UpdateStatus.EU2_NOT_UPDATED, UpdateStatus.EU3_ROAMING_NOT_ALLOWED
_ILLEGAL = Effect(True, _EU3, EmmSubstate.NO_IMSI, usim_invalid=True)

EFFECTS: dict[int, Effect] = {
    EmmCause.ILLEGAL_UE: _ILLEGAL,
    EmmCause.ILLEGAL_ME: _ILLEGAL,
    EmmCause.EPS_SERVICES_NOT_ALLOWED: _ILLEGAL,
    EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED: _ILLEGAL,
    EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK: Effect(True, _EU2, EmmSubstate.NORMAL_SERVICE, attach_again=True),
    EmmCause.IMPLICITLY_DETACHED: Effect(False, _EU2, EmmSubstate.NORMAL_SERVICE, attach_again=True),
    EmmCause.PLMN_NOT_ALLOWED: Effect(True, _EU3, EmmSubstate.PLMN_SEARCH, Forbidden.PLMN),
    EmmCause.TRACKING_AREA_NOT_ALLOWED: Effect(True, _EU3, EmmSubstate.LIMITED_SERVICE, Forbidden.TRACKING_AREA_FOR_REGION),
    EmmCause.ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA: Effect(True, _EU3, EmmSubstate.LIMITED_SERVICE, Forbidden.TRACKING_AREA_FOR_ROAMING),
    EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN: Effect(True, _EU3, EmmSubstate.PLMN_SEARCH, Forbidden.PLMN_FOR_EPS),
    EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA: Effect(True, _EU3, EmmSubstate.LIMITED_SERVICE, Forbidden.TRACKING_AREA_FOR_ROAMING),
    EmmCause.REQUESTED_SERVICE_OPTION_NOT_AUTHORIZED_IN_THIS_PLMN: Effect(True, _EU3, EmmSubstate.PLMN_SEARCH, Forbidden.PLMN),
    EmmCause.NO_EPS_BEARER_CONTEXT_ACTIVATED: Effect(False, _EU2, EmmSubstate.NORMAL_SERVICE, attach_again=True),
    EmmCause.SEVERE_NETWORK_FAILURE: Effect(True, _EU2, EmmSubstate.PLMN_SEARCH),
}

# Causes that a new attempt cannot cure: the attempt counter jumps to its end. TS 24.301 clause 5.5.1.2.6 d)
HOPELESS: frozenset[int] = frozenset({
    EmmCause.SEMANTICALLY_INCORRECT_MESSAGE,
    EmmCause.INVALID_MANDATORY_INFORMATION,
    EmmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED,
    EmmCause.INFORMATION_ELEMENT_NON_EXISTENT_OR_NOT_IMPLEMENTED,
    EmmCause.PROTOCOL_ERROR_UNSPECIFIED,
})


def apply(ue: Ue, cause: int) -> Effect | None:
    """Change the UE's data as ``cause`` demands and leave it deregistered; ``None``: an abnormal case, nothing was changed."""
    effect = EFFECTS.get(cause)
    if effect is None:
        return None
    tai = ue.tai
    ue.update_status = effect.status
    if effect.deletes:
        ue.forget_registration()
    match effect.forbidden:
        case Forbidden.PLMN:
            ue.forbidden_plmns = ue.forbidden_plmns | {tai.plmn}
        case Forbidden.PLMN_FOR_EPS:
            ue.forbidden_plmns_for_eps = ue.forbidden_plmns_for_eps | {tai.plmn}
        case Forbidden.TRACKING_AREA_FOR_ROAMING:
            ue.forbidden_tais_for_roaming = ue.forbidden_tais_for_roaming | {tai}
        case Forbidden.TRACKING_AREA_FOR_REGION:
            ue.forbidden_tais_for_region = ue.forbidden_tais_for_region | {tai}
    if effect.usim_invalid:
        ue.sim.valid = False
    ue.release_bearers()
    ue.enter(EmmState.DEREGISTERED, effect.substate)
    if effect.forbidden is not Forbidden.NOTHING:
        ue.search()
    return effect


def name(cause: int) -> str:
    """``#11 PLMN_NOT_ALLOWED``"""
    return f"#{int(cause)} {cause.name}" if isinstance(cause, nas.EmmCause | nas.EsmCause) else f"#{cause}"
