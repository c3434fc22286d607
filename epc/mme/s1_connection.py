"""The UE-associated logical S1 connection: what makes a phone ECM-CONNECTED (TS 23.401 clause 4.6.3.3, TS 36.413 clause 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.nas_security import NasCountExhausted, NasSecurityContext
from epc.procedure import Dialogue
from epc.wire import nas as wire_nas
from epc.wire import s1ap

if TYPE_CHECKING:
    from epc.mme.s1_association import S1Association
    from epc.mme.ue_context import UeContext


class S1Connection:
    """One phone's signalling over one eNodeB, from its first message to the release.

    ``is_secured``: NAS messages are integrity protected in both directions from now on (secure exchange, TS 24.301 clause 4.4.2.3).
    ``has_radio_context``: the eNodeB has security and bearers for the phone. ``e_rabs`` are the bearers that it was asked for, answered
    or not, and ``radio_security`` is what its keys come from.
    """

    __slots__ = (
        "_nas", "_s1", "association", "e_rabs", "enb_ue_s1ap_id", "has_radio_context", "is_releasing", "is_secured", "mme_ue_s1ap_id",
        "radio_security", "stream", "ue",
    )

    def __init__(self, association: S1Association, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, stream: int, ue: UeContext) -> None:
        self.association = association
        self.mme_ue_s1ap_id = mme_ue_s1ap_id        # allocated by the MME
        self.enb_ue_s1ap_id = enb_ue_s1ap_id        # allocated by the eNodeB
        self.stream = stream                        # SCTP stream, kept for the life of the connection: TS 36.412 clause 7
        self.ue: UeContext | None = ue
        self.is_secured = False
        self.has_radio_context = False
        self.e_rabs: set[int] = set()
        self.radio_security: NasSecurityContext | None = None
        self.is_releasing = False
        self._nas: Dialogue | None = Dialogue(self._send_nas)
        self._s1: Dialogue | None = Dialogue(self.send)

    @property
    def nas(self) -> Dialogue:
        if self._nas is None:
            raise ConnectionError("the S1 connection is released")
        return self._nas

    @property
    def s1(self) -> Dialogue:
        if self._s1 is None:
            raise ConnectionError("the S1 connection is released")
        return self._s1

    def send(self, message: object) -> None:
        """Put an S1AP message for this phone on the wire."""
        assert isinstance(message, s1ap.Message)
        self.association.send(message, self.stream)

    def _send_nas(self, message: object) -> None:
        """A NAS message in a DOWNLINK NAS TRANSPORT, protected as the state of the connection asks."""
        assert isinstance(message, wire_nas.EmmMessage | wire_nas.EsmMessage)
        self.send(s1ap.DownlinkNASTransport(
            mme_ue_s1ap_id=self.mme_ue_s1ap_id, enb_ue_s1ap_id=self.enb_ue_s1ap_id, nas_pdu=self.protect(message)))

    def protect(self, message: wire_nas.EmmMessage | wire_nas.EsmMessage) -> bytes:
        """The NAS message as octets for the phone, for a NAS-PDU element; each call uses up one NAS COUNT."""
        plain = wire_nas.encode(message)
        self.association.mme.metrics.message_sent("NAS", type(message).__name__)
        ue = self.ue
        if ue is None:
            return plain
        try:
            if isinstance(message, wire_nas.SecurityModeCommand) and ue.new_security is not None:
                return ue.new_security.protect(plain, new_context=True, ciphered=False)
            if self.is_secured and ue.security is not None:
                return ue.security.protect(plain)
        except NasCountExhausted as error:
            raise ConnectionError(str(error)) from None         # the NAS signalling connection is to be released: TS 24.301 clause 4.4.3.5
        return plain

    def unbind(self, reason: str) -> None:
        """The phone is idle, or talks over another connection: whoever awaits something over this one gets ``ConnectionError``."""
        ue, self.ue = self.ue, None
        if ue is not None and ue.connection is self:
            ue.connection = None
        dialogue, self._nas = self._nas, None
        if dialogue is not None:
            dialogue.close(ConnectionError(reason))

    def close(self, reason: str) -> None:
        """The connection is over, and its identifiers are free."""
        self.unbind(reason)
        dialogue, self._s1 = self._s1, None
        if dialogue is not None:
            dialogue.close(ConnectionError(reason))
        self.association.forget(self)
