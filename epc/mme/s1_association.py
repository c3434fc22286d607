"""One eNodeB: its SCTP association, the phones connected through it, and what to do with each S1AP message (TS 36.413)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from epc.mme.delete_bearer import erab_release_indication
from epc.mme.enb_configuration_update import enb_configuration_update
from epc.mme.nas_reception import receive_initial, receive_uplink
from epc.mme.reset import reset_from_enb
from epc.mme.s1_connection import S1Connection
from epc.mme.s1_setup import s1_setup
from epc.node.state import AssociatedPeer
from epc.transport.interface import Association
from epc.wire import s1ap

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

S1AP_PPID = 18              # TS 36.412 clause 7, RFC 4960's registry
_COMMON_STREAM = 0          # procedures that concern no single phone have a pair of streams of their own


class S1Association:
    """The MME's view of one eNodeB."""

    __slots__ = ("_association", "connections", "connections_by_enb_id", "enb_id", "is_set_up", "mme", "name", "supported_tais")

    def __init__(self, mme: Mme, association: Association) -> None:
        self.mme = mme
        self._association = association
        self.is_set_up = False
        self.name = ""
        self.enb_id = ""                                        # PLMN and eNodeB identity, as text
        self.supported_tais: frozenset[tuple[str, int]] = frozenset()
        self.connections: dict[int, S1Connection] = {}          # by MME UE S1AP ID
        self.connections_by_enb_id: dict[int, S1Connection] = {}
        association.on_message = self._receive
        association.on_closed = self._closed

    def __str__(self) -> str:
        return self.name or self.enb_id or str(self._association.remote)

    # out

    def send(self, message: s1ap.Message, stream: int = _COMMON_STREAM) -> None:
        """Raises ``ConnectionError`` when the association is down."""
        octets = s1ap.encode(message)
        self._association.send(octets, stream=stream, ppid=S1AP_PPID)
        self.mme.metrics.message_sent("S1-MME", type(message).__name__)

    def send_error_indication(self, cause: s1ap.Cause, *, mme_ue_s1ap_id: int | None = None, enb_ue_s1ap_id: int | None = None,
                              criticality_diagnostics: s1ap.CriticalityDiagnostics | None = None) -> None:
        """TS 36.413 clause 8.7.2."""
        self.mme.metrics.protocol_error("S1-MME", cause.value)
        self.send(s1ap.ErrorIndication(mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id, cause=cause,
                                       criticality_diagnostics=criticality_diagnostics))

    def shutdown(self) -> None:
        """The node stops: nobody is interested any more in what becomes of the phones."""
        self._association.on_closed = _unheard
        self._association.shutdown()

    def status(self) -> dict[str, object]:
        return {
            "enb": self.name, "enb_id": self.enb_id, "is_set_up": self.is_set_up, "phones": len(self.connections),
            "tais": sorted(f"{plmn}-{tac}" for plmn, tac in self.supported_tais), **self._association.status(),
        }

    def as_peer(self) -> AssociatedPeer:
        return AssociatedPeer(
            interface="S1-MME", peer=str(self), address=str(self._association.remote), state="set up" if self.is_set_up else "S1 Setup missing",
            is_up=self.is_set_up)

    # connections

    def connect(self, enb_ue_s1ap_id: int, ue: UeContext) -> S1Connection:
        """A new connection for ``ue``; one that the eNodeB has under the same identity is stale."""
        stale = self.connections_by_enb_id.get(enb_ue_s1ap_id)
        if stale is not None:
            self.mme.lose_connection(stale, "the eNodeB uses its identity anew")
        streams = self._association.outbound_streams
        mme_ue_s1ap_id = self.mme.new_mme_ue_s1ap_id()
        stream = 1 + mme_ue_s1ap_id % (streams - 1) if streams > 1 else 0
        connection = S1Connection(self, mme_ue_s1ap_id, enb_ue_s1ap_id, stream, ue)
        self.connections[mme_ue_s1ap_id] = connection
        self.connections_by_enb_id[enb_ue_s1ap_id] = connection
        self.mme.s1_connections += 1
        ue.connection = connection
        return connection

    def forget(self, connection: S1Connection) -> None:
        if self.connections.pop(connection.mme_ue_s1ap_id, None) is not None:
            self.mme.s1_connections -= 1
        if self.connections_by_enb_id.get(connection.enb_ue_s1ap_id) is connection:
            del self.connections_by_enb_id[connection.enb_ue_s1ap_id]

    # in

    def _receive(self, octets: bytes, stream: int, ppid: int) -> None:
        try:
            message = s1ap.decode(octets)
        except s1ap.S1apSyntaxError as error:
            self._answer_syntax_error(error)
            return
        self.mme.metrics.message_received("S1-MME", type(message).__name__)
        handler = _HANDLERS.get(type(message))
        if handler is None:
            self._not_expected(message)
        elif not self.is_set_up and not isinstance(message, s1ap.S1SetupRequest | s1ap.ErrorIndication):
            self.send_error_indication(s1ap.Cause("protocol", "message-not-compatible-with-receiver-state"))
        else:
            try:
                handler(self, message)
            except ConnectionError as error:
                self.mme.log.info("s1.answer_lost", enb=str(self), message=type(message).__name__, reason=str(error))

    def _answer_syntax_error(self, error: s1ap.S1apSyntaxError) -> None:
        """TS 36.413 clause 10: Error Indication, or the unsuccessful outcome where the procedure has one."""
        self.mme.metrics.protocol_error("S1-MME", error.cause.value)
        self.mme.log.info("s1.syntax_error", enb=str(self), error=str(error), cause=error.cause.value)
        if not error.answered or not self._association.is_open:
            return
        if error.procedure_code == s1ap.S1SetupRequest.procedure_code and error.triggering_message == "initiating-message":
            self.send(s1ap.S1SetupFailure(cause=error.cause, criticality_diagnostics=error.criticality_diagnostics))
            return
        diagnostics = None if error.procedure_code is None else error.criticality_diagnostics
        self.send(s1ap.ErrorIndication(mme_ue_s1ap_id=error.mme_ue_s1ap_id, enb_ue_s1ap_id=error.enb_ue_s1ap_id, cause=error.cause,
                                       criticality_diagnostics=diagnostics))

    def _not_expected(self, message: s1ap.Message) -> None:
        """A message that exists but that this MME has no procedure for: an initiating one is refused by its criticality."""
        if message.kind == "initiating" and message.criticality != "ignore":
            diagnostics = s1ap.CriticalityDiagnostics(
                procedure_code=message.procedure_code, triggering_message="initiating-message", procedure_criticality=message.criticality)
            self.send_error_indication(s1ap.Cause("protocol", "abstract-syntax-error-reject"), criticality_diagnostics=diagnostics)

    def connection_of(self, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int) -> S1Connection | None:
        """The connection with that pair of identities; else the eNodeB is told (TS 36.413 clause 10.6) and ``None`` returned."""
        connection = self.connections.get(mme_ue_s1ap_id)
        if connection is not None and connection.enb_ue_s1ap_id == enb_ue_s1ap_id:
            return connection
        value: s1ap.CauseRadioNetwork = "unknown-mme-ue-s1ap-id" if connection is None else "unknown-pair-ue-s1ap-id"
        self.send_error_indication(s1ap.Cause("radioNetwork", value), mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id)
        return None

    def _closed(self, reason: str) -> None:
        """The association is gone, and with it every connection over it."""
        self.mme.log.info("s1.association_lost", enb=str(self), reason=reason, phones=len(self.connections))
        self.is_set_up = False
        for connection in list(self.connections.values()):
            self.mme.lose_connection(connection, f"S1 association lost: {reason}")
        self.mme.associations.discard(self)

    # handlers

    def _on_initial_ue_message(self, message: s1ap.InitialUEMessage) -> None:
        receive_initial(self.mme, self, message)

    def _on_uplink_nas_transport(self, message: s1ap.UplinkNASTransport) -> None:
        connection = self.connection_of(message.mme_ue_s1ap_id, message.enb_ue_s1ap_id)
        if connection is not None and connection.ue is not None:
            self.mme.locate(connection.ue, message.tai, message.eutran_cgi)
            receive_uplink(self.mme, connection, connection.ue, message.nas_pdu)

    def _on_ue_answer(self, message: s1ap.InitialContextSetupResponse | s1ap.InitialContextSetupFailure | s1ap.UEContextReleaseComplete
                      | s1ap.ERABSetupResponse | s1ap.ERABReleaseResponse | s1ap.ERABModifyResponse | s1ap.UEContextModificationResponse
                      | s1ap.UEContextModificationFailure) -> None:
        connection = self.connection_of(message.mme_ue_s1ap_id, message.enb_ue_s1ap_id)
        if connection is not None and not connection.s1.feed(message):
            self.mme.metrics.protocol_error("S1-MME", "unexpected answer")

    def _on_ue_context_release_request(self, message: s1ap.UEContextReleaseRequest) -> None:
        connection = self.connection_of(message.mme_ue_s1ap_id, message.enb_ue_s1ap_id)
        if connection is not None and connection.ue is not None:
            connection.ue.slot.receive(connection.s1, message, self.mme, connection.ue)

    def _on_erab_release_indication(self, message: s1ap.ERABReleaseIndication) -> None:
        connection = self.connection_of(message.mme_ue_s1ap_id, message.enb_ue_s1ap_id)
        if connection is not None:
            erab_release_indication(self.mme, connection, message)

    def _on_ue_capability_info_indication(self, message: s1ap.UECapabilityInfoIndication) -> None:
        connection = self.connection_of(message.mme_ue_s1ap_id, message.enb_ue_s1ap_id)
        if connection is not None and connection.ue is not None:
            connection.ue.ue_radio_capability = message.ue_radio_capability

    def _on_nas_non_delivery_indication(self, message: s1ap.NASNonDeliveryIndication) -> None:
        """The phone did not get a message; the NAS timers see to the rest."""
        self.mme.metrics.protocol_error("S1-MME", f"NAS not delivered: {message.cause.value}")

    def _on_error_indication(self, message: s1ap.ErrorIndication) -> None:
        """The eNodeB could not use a message. Does it not know the phone, then the connection is no more (TS 36.413 clause 10.6)."""
        cause = message.cause.value if message.cause is not None else "none"
        self.mme.metrics.protocol_error("S1-MME", f"reported: {cause}")
        connection = None if message.mme_ue_s1ap_id is None else self.connections.get(message.mme_ue_s1ap_id)
        if connection is not None and cause in ("unknown-mme-ue-s1ap-id", "unknown-enb-ue-s1ap-id", "unknown-pair-ue-s1ap-id"):
            self.mme.lose_connection(connection, f"Error Indication: {cause}")


def _unheard(reason: str) -> None:
    pass


_HANDLERS: dict[type[s1ap.Message], Callable[[S1Association, Any], None]] = {
    s1ap.S1SetupRequest: s1_setup,
    s1ap.ENBConfigurationUpdate: enb_configuration_update,
    s1ap.Reset: reset_from_enb,
    s1ap.InitialUEMessage: S1Association._on_initial_ue_message,
    s1ap.UplinkNASTransport: S1Association._on_uplink_nas_transport,
    s1ap.InitialContextSetupResponse: S1Association._on_ue_answer,
    s1ap.InitialContextSetupFailure: S1Association._on_ue_answer,
    s1ap.UEContextReleaseComplete: S1Association._on_ue_answer,
    s1ap.ERABSetupResponse: S1Association._on_ue_answer,
    s1ap.ERABReleaseResponse: S1Association._on_ue_answer,
    s1ap.ERABModifyResponse: S1Association._on_ue_answer,
    s1ap.ERABReleaseIndication: S1Association._on_erab_release_indication,
    s1ap.UEContextModificationResponse: S1Association._on_ue_answer,
    s1ap.UEContextModificationFailure: S1Association._on_ue_answer,
    s1ap.UEContextReleaseRequest: S1Association._on_ue_context_release_request,
    s1ap.UECapabilityInfoIndication: S1Association._on_ue_capability_info_indication,
    s1ap.NASNonDeliveryIndication: S1Association._on_nas_non_delivery_indication,
    s1ap.ErrorIndication: S1Association._on_error_indication,
}
