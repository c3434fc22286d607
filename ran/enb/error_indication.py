"""Error Indication (TS 36.413 clause 8.7.2), and what a message that cannot be used is answered with (clause 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.s1ap import (
    Cause,
    CriticalityDiagnostics,
    ErrorIndication,
    InitialContextSetupFailure,
    InitialContextSetupRequest,
    MMEConfigurationUpdate,
    MMEConfigurationUpdateFailure,
    S1apSyntaxError,
    UEContextModificationFailure,
    UEContextModificationRequest,
)
from ran.enb.causes import label

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb

_ABOUT_IDENTITIES = ("unknown-mme-ue-s1ap-id", "unknown-enb-ue-s1ap-id", "unknown-pair-ue-s1ap-id")


def send_error_indication(
    link: MmeLink, cause: Cause, *, mme_ue_s1ap_id: int | None = None, enb_ue_s1ap_id: int | None = None,
    diagnostics: CriticalityDiagnostics | None = None,
) -> None:
    stream = link.stream_for(enb_ue_s1ap_id) if enb_ue_s1ap_id is not None else 0
    link.send(ErrorIndication(
        mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id, cause=cause, criticality_diagnostics=diagnostics), stream=stream)


def answer_syntax_error(link: MmeLink, error: S1apSyntaxError) -> None:
    """An unsuccessful outcome where the procedure has one and the message told enough, else an Error Indication."""
    if not error.answered:
        return
    diagnostics = error.criticality_diagnostics if error.procedure_code is not None else None
    mme_id, enb_id = error.mme_ue_s1ap_id, error.enb_ue_s1ap_id
    if error.triggering_message == "initiating-message":
        if error.procedure_code == MMEConfigurationUpdate.procedure_code:
            link.send(MMEConfigurationUpdateFailure(cause=error.cause, criticality_diagnostics=diagnostics))
            return
        if mme_id is not None and enb_id is not None:
            stream = link.stream_for(enb_id)
            if error.procedure_code == InitialContextSetupRequest.procedure_code:
                link.send(InitialContextSetupFailure(
                    mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, cause=error.cause, criticality_diagnostics=diagnostics), stream=stream)
                return
            if error.procedure_code == UEContextModificationRequest.procedure_code:
                link.send(UEContextModificationFailure(
                    mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, cause=error.cause, criticality_diagnostics=diagnostics), stream=stream)
                return
    send_error_indication(link, error.cause, mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, diagnostics=diagnostics)


def error_indication(enb: Enb, link: MmeLink, message: ErrorIndication) -> None:
    """The MME could not use something of ours. When it does not know the UE, the context here is an orphan (TS 36.413 clause 10.6)."""
    cause = label(message.cause) if message.cause is not None else "none"
    enb.metrics.protocol_error("S1-MME", f"peer: {cause}")
    enb.log.info("s1.error_indication", cause=cause, mme_ue_s1ap_id=message.mme_ue_s1ap_id, enb_ue_s1ap_id=message.enb_ue_s1ap_id)
    if message.enb_ue_s1ap_id is None or cause not in _ABOUT_IDENTITIES:
        return
    ue = enb.ues.get(message.enb_ue_s1ap_id)
    if ue is not None and ue.link is link:
        enb.drop_context(ue)
