"""The GTP-U port of a forwarder on sockets: what is no user's packet is answered or counted here (TS 29.281 clauses 4, 5 and 7)."""

from __future__ import annotations

import logging
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from epc.dataplane.forwarder import DropReason, UnknownTeid
from epc.dataplane.rules import GTPU_PORT, FTeid, Interface, RuleError
from epc.dataplane.socket_rules import PLAIN_G_PDU, RuleTable
from epc.transport.interface import Address, DatagramPort
from epc.wire import gtpu
from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.dataplane.socket_backend import SocketForwarder

log = logging.getLogger(__name__)

_read_header = struct.Struct(">HHI").unpack_from        # flags and type, length, TEID
_UNDERSTOOD = (
    gtpu.ExtensionHeaderType.SERVICE_CLASS_INDICATOR, gtpu.ExtensionHeaderType.UDP_PORT, gtpu.ExtensionHeaderType.PDCP_PDU_NUMBER,
)


class Port:
    """The GTP-U port of one side (or of both, when they share an address)."""

    def __init__(self, forwarder: SocketForwarder, interface: Interface, address: str) -> None:
        self.forwarder = forwarder
        self.interface = interface
        self.address = address
        self.packed_address = packed(address)
        self.ip_address = ip_address(address)
        self.rules: RuleTable = {}              # by TEID
        self.next_teid = 1
        self.datagrams: DatagramPort | None = None

    def send(self, message: bytes, to: Address) -> None:
        if self.datagrams is not None:
            self.datagrams.send(message, to)

    def receive(self, message: bytes, source: Address) -> None:
        try:
            kind, length, teid = _read_header(message)
        except struct.error:
            self.forwarder.drop(DropReason.TRUNCATED)
            return
        if kind == PLAIN_G_PDU and length == len(message) - 8 and length:
            rule = self.rules.get(teid)
            if rule is not None:
                rule.gpdu(message, 8)
                return
        self._receive_other(message, source, length, teid)

    def _receive_other(self, message: bytes, source: Address, length: int, teid: int) -> None:
        """Whatever is not a G-PDU without optional header part to a known TEID."""
        drop = self.forwarder.drop
        if message[0] >> 4 != 3:        # version 1 and protocol type GTP (TS 29.281 clause 5.1)
            drop(DropReason.WRONG_VERSION)
        elif length != len(message) - 8:
            drop(DropReason.TRUNCATED if length > len(message) - 8 else DropReason.WRONG_LENGTH)
        else:
            try:
                start = gtpu.peek(message).payload
            except WireError:
                drop(DropReason.TRUNCATED)
                return
            try:
                received = gtpu.decode(message)
            except gtpu.UnknownMessageType:
                drop(DropReason.UNKNOWN_MESSAGE)
            except WireError:
                drop(DropReason.MALFORMED_ELEMENT)
            else:
                self._act_on(received, message, start, source)

    def _act_on(self, received: gtpu.Packet, message: bytes, start: int, source: Address) -> None:
        match received.message:
            case gtpu.GPdu():
                self._receive_gpdu(received, message, start, source)
            case gtpu.EndMarker():
                self._receive_end_marker(received.teid)
            case gtpu.EchoRequest():
                self.forwarder.echo_requests_received += 1
                self.send(gtpu.encode(gtpu.EchoResponse(), sequence=received.sequence), source)
            case gtpu.EchoResponse():
                self.forwarder.echo_answered(source.host, received.sequence)
            case gtpu.ErrorIndication(teid=teid, peer_address=address):
                self.forwarder.peer_lacks_tunnel(FTeid(teid=teid, address=str(address)))
            case gtpu.SupportedExtensionHeadersNotification(types=types):
                log.debug("peer %s understands only extension headers %s, and was sent another", source, types)

    def _receive_gpdu(self, received: gtpu.Packet, message: bytes, start: int, source: Address) -> None:
        forwarder, teid = self.forwarder, received.teid
        if start == len(message):
            forwarder.drop(DropReason.TRUNCATED)
            return
        rule = self.rules.get(teid)
        if rule is None:
            forwarder.drop(DropReason.UNKNOWN_TEID)
            if teid:
                forwarder.error_indications_sent += 1
                self.send(gtpu.encode(gtpu.ErrorIndication(teid=teid, peer_address=self.ip_address)), Address(source.host, GTPU_PORT))
            forwarder.on_event(UnknownTeid(interface=self.interface, peer=source.host, teid=teid))
            return
        for extension in received.extension_headers:
            required = extension.intermediate_must_understand if forwarder.is_intermediate else extension.endpoint_must_understand
            if required and extension.type not in _UNDERSTOOD:
                forwarder.drop(DropReason.EXTENSION_HEADER)
                self.send(gtpu.encode(gtpu.SupportedExtensionHeadersNotification(types=_UNDERSTOOD)), Address(source.host, GTPU_PORT))
                return
        if forwarder.is_intermediate and any(_ends_here(extension) for extension in received.extension_headers):
            payload = message[start:]
            message = gtpu.encode(
                gtpu.GPdu(payload=payload), teid=teid, sequence=received.sequence, n_pdu_number=received.n_pdu_number,
                extension_headers=tuple(extension for extension in received.extension_headers if not _ends_here(extension)),
            )
            start = len(message) - len(payload)
        rule.gpdu(message, start)

    def _receive_end_marker(self, teid: int) -> None:
        rule = self.rules.get(teid)
        if rule is None:
            self.forwarder.drop(DropReason.UNKNOWN_TEID)        # ignored without an answer (TS 29.281 clause 7.3.2)
            return
        event = rule.end_marker()
        if event is not None:
            self.forwarder.on_event(event)


def _ends_here(extension: gtpu.ExtensionHeader) -> bool:
    """An intermediate node leaves it out of what it passes on: types 01xxxxxx (TS 29.281 clause 5.2.1)."""
    return extension.type & 0xC0 == 0x40


def packed(address: str) -> bytes:
    """The octets of an IP address; raises :class:`RuleError` if the text is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except OSError:
        raise RuleError(f"not an IP address: {address!r}") from None
