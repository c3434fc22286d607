"""The eNodeB has lost connections: TS 36.413 clause 8.7.1.2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import s1ap

if TYPE_CHECKING:
    from epc.mme.s1_association import S1Association
    from epc.mme.s1_connection import S1Connection


def reset_from_enb(association: S1Association, request: s1ap.Reset) -> None:
    """Release the connections named, or all, without further signalling; an acknowledgement names those that were named, known or not."""
    listed = None if isinstance(request.reset_type.value, str) else request.reset_type.value
    if listed is None:
        lost = list(association.connections.values())
    else:
        lost = [connection for item in listed if (connection := _named(association, item)) is not None]
    for connection in lost:
        association.mme.lose_connection(connection, f"Reset by the eNodeB: {request.cause.value}")
    association.send(s1ap.ResetAcknowledge(ue_associated_logical_s1_connection_list_res_ack=listed))


def _named(association: S1Association, item: s1ap.UEassociatedLogicalS1ConnectionItem) -> S1Connection | None:
    """By either identity, or by both if they agree."""
    if item.mme_ue_s1ap_id is not None:
        connection = association.connections.get(item.mme_ue_s1ap_id)
        agrees = connection is not None and item.enb_ue_s1ap_id in (None, connection.enb_ue_s1ap_id)
        return connection if agrees else None
    if item.enb_ue_s1ap_id is not None:
        return association.connections_by_enb_id.get(item.enb_ue_s1ap_id)
    return None
