"""Setting up E-RABs, the part that Initial Context Setup and E-RAB Setup have in common (TS 36.413 clauses 8.2.1 and 8.3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from epc.dataplane.rules import FTeid, RuleError
from epc.procedure import Timer
from epc.wire.identity import Ebi
from epc.wire.s1ap import Cause, ERABItem, ERABLevelQoSParameters, ERABToBeSetupItemBearerSUReq, ERABToBeSetupItemCtxtSUReq
from ran.enb.causes import DUPLICATE_E_RAB, INVALID_QOS, RADIO_FAILURE, TRANSPORT, RadioLost, Refusal
from ran.enb.identity import host_of
from ran.enb.radio import RadioBearer, Reconfiguration
from ran.enb.ue_context import Bearer, ReconfigurationDone, UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb

ToBeSetUp = ERABToBeSetupItemCtxtSUReq | ERABToBeSetupItemBearerSUReq
_GBR_QCIS = frozenset({1, 2, 3, 4, 65, 66, 67, 75})     # TS 23.203 table 6.1.7


class SetUpResult(NamedTuple):
    admitted: tuple[Bearer, ...]
    failed: tuple[ERABItem, ...]


def set_up_tunnels(enb: Enb, ue: UeContext, items: Iterable[ToBeSetUp]) -> SetUpResult:
    """Give each E-RAB a tunnel, or the cause why it gets none. The radio does not know of them yet."""
    wanted = tuple(items)
    times = Counter(item.e_rab_id for item in wanted)
    admitted: list[Bearer] = []
    failed: list[ERABItem] = []
    for item in wanted:
        qos = item.e_rab_level_qos_parameters
        host = host_of(item.transport_layer_address)
        if times[item.e_rab_id] > 1 or item.e_rab_id in ue.bearers:
            cause: Cause | None = DUPLICATE_E_RAB
        elif not is_possible(qos):
            cause = INVALID_QOS
        elif host is None:
            cause = TRANSPORT
        else:
            cause = enb.behaviour.refuse_bearers
        if cause is None and host is not None:
            far_end = FTeid(teid=int.from_bytes(item.gtp_teid, "big"), address=host)
            try:
                admitted.append(enb.user_plane.set_up(ue, Ebi(item.e_rab_id), qos, far_end))
            except RuleError as error:
                enb.log.info("bearer.refused", reason=str(error))
                cause = TRANSPORT
        if cause is not None:
            failed.append(ERABItem(e_rab_id=item.e_rab_id, cause=cause))
    return SetUpResult(tuple(admitted), tuple(failed))


def is_possible(qos: ERABLevelQoSParameters) -> bool:
    """A guaranteed bit rate goes with the QCIs that have one (TS 36.413 clause 8.2.1.4)."""
    return qos.qci not in _GBR_QCIS or qos.gbr_qos_information is not None


async def reconfigure(enb: Enb, ue: UeContext, reconfiguration: Reconfiguration) -> None:
    """RRC connection reconfiguration; raises :class:`Refusal` when the UE cannot comply, :class:`TimerExpired` when it says nothing."""
    timer = Timer("RRC reconfiguration", enb.config.timers.radio_s)
    if not ue.on_air:
        raise RadioLost
    ue.radio.reconfigure(reconfiguration)
    done = await ue.radio_dialogue.wait(ReconfigurationDone, timer=timer)
    if not done.success:
        raise Refusal(RADIO_FAILURE)


def radio_bearers(bearers: Iterable[Bearer]) -> tuple[RadioBearer, ...]:
    return tuple(RadioBearer(ebi=bearer.ebi, qci=bearer.qci) for bearer in bearers)


def nas_of(items: Iterable[ToBeSetUp], admitted: Iterable[Bearer]) -> tuple[bytes, ...]:
    """NAS messages of the bearers that got through; those of failed ones are not handed on (TS 36.413 clause 8.2.1.2)."""
    through = {bearer.ebi for bearer in admitted}
    return tuple(item.nas_pdu for item in items if item.nas_pdu is not None and item.e_rab_id in through)
