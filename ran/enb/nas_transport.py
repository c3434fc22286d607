"""NAS Transport (TS 36.413 clause 8.6): NAS messages between radio and MME, and which MME a UE gets (TS 36.413 clause 8.6.2.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.wire.identity import Plmn
from epc.wire.s1ap import (
    DownlinkNASTransport,
    InitialUEMessage,
    NASNonDeliveryIndication,
    OverloadResponse,
    RRCEstablishmentCause,
    UplinkNASTransport,
)
from ran.enb.causes import RADIO_LOST
from ran.enb.identity import eutran_cgi, gummei, s_tmsi, tai
from ran.enb.radio import Gummei, RadioConnection, STmsi
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb

REJECT_WAIT_S = 5       # RRC wait time when no MME can take the UE, 1 to 16 (TS 36.331 clause 6.2.2)

# TS 36.413 clause 8.7.6.2: establishment causes that are refused at each overload action
_REFUSED: dict[str, frozenset[RRCEstablishmentCause]] = {
    "reject-non-emergency-mo-dt": frozenset({"mo-Data", "mo-VoiceCall", "delay-TolerantAccess", "mo-ExceptionData"}),
    "reject-rrc-cr-signalling": frozenset({"mo-Data", "mo-Signalling", "mo-VoiceCall", "delay-TolerantAccess", "mo-ExceptionData"}),
    "permit-emergency-sessions-and-mobile-terminated-services-only": frozenset(
        {"mo-Data", "mo-Signalling", "mo-VoiceCall", "delay-TolerantAccess", "mo-ExceptionData", "highPriorityAccess"}),
    "permit-high-priority-sessions-and-mobile-terminated-services-only": frozenset(
        {"mo-Data", "mo-Signalling", "mo-VoiceCall", "delay-TolerantAccess", "mo-ExceptionData"}),
    "reject-delay-tolerant-access": frozenset({"delay-TolerantAccess"}),
    "not-accept-mo-data-or-delay-tolerant-access-from-CP-CIoT": frozenset(),
}


def is_refused(overload: OverloadResponse | None, cause: RRCEstablishmentCause) -> bool:
    """Whether an overloaded MME wants no UE that connects for this cause."""
    return overload is not None and isinstance(overload.value, str) and cause in _REFUSED.get(overload.value, frozenset())


def select_mme(enb: Enb, cause: RRCEstablishmentCause, plmn: Plmn, identity: STmsi | None, registered: Gummei | None) -> MmeLink | None:
    """The MME that the UE is registered with, else one of those that serve its PLMN, by chance weighted with their capacities."""
    usable = [link for link in enb.links if link.is_ready and not is_refused(link.overload, cause)]
    for link in usable:
        if registered is not None and registered in link.gummeis:
            return link
        if registered is None and identity is not None and any(each.mme_code == identity.mme_code and each.plmn == plmn for each in link.gummeis):
            return link
    candidates = [link for link in usable if plmn in link.served_plmns] or usable
    weights = [link.relative_capacity for link in candidates]
    if not candidates:
        return None
    return enb.entropy.choices(candidates, weights if any(weights) else None)[0]


def initial_ue_message(
    enb: Enb, radio: RadioConnection, pdu: bytes, cause: RRCEstablishmentCause, identity: STmsi | None, registered: Gummei | None, plmn: Plmn,
) -> None:
    """A UE connects: give it an identity and an MME, and pass its first message on."""
    link = select_mme(enb, cause, plmn, identity, registered)
    if link is None or len(enb.ues) >= enb.config.max_ues:
        enb.rejected_connections.labels("no MME" if link is None else "full").inc()
        radio.reject(REJECT_WAIT_S)
        return
    ue = enb.new_context(link, radio, plmn)
    information = radio.cell.information
    enb.send_or_release(ue, InitialUEMessage(
        enb_ue_s1ap_id=ue.enb_ue_s1ap_id, nas_pdu=pdu, tai=tai(information, plmn), eutran_cgi=eutran_cgi(information), rrc_establishment_cause=cause,
        s_tmsi=s_tmsi(identity) if identity is not None else None,
        gummei_id=gummei(registered) if registered is not None else None, gummei_type="native" if registered is not None else None))


def uplink_nas_transport(enb: Enb, ue: UeContext, pdu: bytes) -> None:
    """Until the MME has given its identity of the UE, further messages wait: they cannot be addressed."""
    ue.last_activity = asyncio.get_running_loop().time()
    if ue.mme_ue_s1ap_id is None:
        ue.early_nas.append(pdu)
        return
    information = ue.radio.cell.information
    enb.send_or_release(ue, UplinkNASTransport(
        mme_ue_s1ap_id=ue.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, nas_pdu=pdu, eutran_cgi=eutran_cgi(information),
        tai=tai(information, ue.selected_plmn)))


def downlink_nas_transport(enb: Enb, ue: UeContext, message: DownlinkNASTransport) -> None:
    ue.last_activity = asyncio.get_running_loop().time()
    if ue.on_air:
        ue.radio.deliver_nas(message.nas_pdu)
    else:
        ue.send(NASNonDeliveryIndication(
            mme_ue_s1ap_id=message.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, nas_pdu=message.nas_pdu, cause=RADIO_LOST))
