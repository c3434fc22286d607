"""Messages that only inform: EMM INFORMATION (TS 24.301 clause 5.4.5), EMM STATUS (clause 5.7) and ESM STATUS (clause 6.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas
from ran.ue.rejection import name

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def emm_information(ue: Ue, message: nas.EmmInformation) -> None:
    ue.tell("emm_information", network=message.full_name_for_network, time=message.universal_time_and_local_time_zone)


def emm_status(ue: Ue, message: nas.EmmStatus) -> None:
    ue.tell("emm_status", cause=name(message.emm_cause))


def esm_status(ue: Ue, message: nas.EsmStatus) -> None:
    ue.tell("esm_status", cause=name(message.esm_cause), ebi=message.eps_bearer_identity)
