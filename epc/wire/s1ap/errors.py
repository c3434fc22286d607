"""The errors of S1AP (TS 36.413 clause 10), with what the answer to them needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.wire.s1ap.ies import Cause, Criticality, CriticalityDiagnostics, CriticalityDiagnosticsIEItem, TriggeringMessage


class S1apSyntaxError(WireError):
    """A message that cannot be used, and why.

    Answer an initiating message of a class 1 procedure with its unsuccessful outcome where it has one, anything else with an
    ErrorIndication: both take ``cause`` and ``criticality_diagnostics`` from here. ``answered`` is false where the specification
    wants silence: an unknown procedure, or missing elements, whose criticality is "ignore".
    """

    def __init__(
        self, reason: str, *, cause: Cause, offset: int = 0, ie: str = "", answered: bool = True,
        procedure_code: int | None = None, triggering_message: TriggeringMessage | None = None, procedure_criticality: Criticality | None = None,
        ies: tuple[CriticalityDiagnosticsIEItem, ...] = (), mme_ue_s1ap_id: int | None = None, enb_ue_s1ap_id: int | None = None,
    ) -> None:
        super().__init__(reason, offset=offset, ie=ie)
        self.cause = cause
        self.answered = answered
        self.procedure_code = procedure_code
        self.triggering_message = triggering_message
        self.procedure_criticality = procedure_criticality
        self.ies = ies
        self.mme_ue_s1ap_id = mme_ue_s1ap_id
        self.enb_ue_s1ap_id = enb_ue_s1ap_id

    @property
    def criticality_diagnostics(self) -> CriticalityDiagnostics:
        """TS 36.413 clause 9.2.1.21."""
        from epc.wire.s1ap.ies import CriticalityDiagnostics

        return CriticalityDiagnostics(
            procedure_code=self.procedure_code, triggering_message=self.triggering_message, procedure_criticality=self.procedure_criticality,
            ies_criticality_diagnostics=self.ies or None)
