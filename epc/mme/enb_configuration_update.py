"""An eNodeB has changed: TS 36.413 clause 8.7.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.s1_setup import supported_tais
from epc.wire import s1ap
from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.mme.s1_association import S1Association


def enb_configuration_update(association: S1Association, request: s1ap.ENBConfigurationUpdate) -> None:
    """Take over name and tracking areas, unless none of them would be served any more."""
    mme = association.mme
    if request.supported_tas is not None:
        try:
            tais = supported_tais(request.supported_tas)
        except WireError:
            association.send(s1ap.ENBConfigurationUpdateFailure(cause=s1ap.Cause("protocol", "semantic-error")))
            return
        if not tais & mme.served_tais:
            association.send(s1ap.ENBConfigurationUpdateFailure(cause=s1ap.Cause("misc", "unknown-PLMN"), time_to_wait="v10s"))
            return
        association.supported_tais = tais
    if request.enb_name is not None:
        association.name = request.enb_name
    association.send(s1ap.ENBConfigurationUpdateAcknowledge())
