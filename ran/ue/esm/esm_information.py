"""ESM information request: the APN travels ciphered, after security is up (TS 24.301 clause 6.6.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas
from ran.ue.esm.pdn_connectivity import REQUESTED_OPTIONS

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def answer(ue: Ue, request: nas.EsmInformationRequest) -> None:
    ue.send_esm(nas.EsmInformationResponse(
        procedure_transaction_identity=request.procedure_transaction_identity, access_point_name=ue.requested_apn,
        protocol_configuration_options=REQUESTED_OPTIONS))
