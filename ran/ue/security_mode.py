"""NAS security mode control, the UE's part: TS 24.301 clause 5.4.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.nas_security import NasSecurityContext, Side, hash_mme, parse_security_header
from epc.security.nas_algorithms import Eea, Eia
from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.nas import EmmCause

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def open_command(ue: Ue, pdu: bytes) -> nas.SecurityModeCommand | None:
    """The SECURITY MODE COMMAND in ``pdu``, verified with the very context that it wants to take into use; ``None`` when it was refused."""
    message = nas.decode(parse_security_header(pdu).payload, uplink=False)
    if not isinstance(message, nas.SecurityModeCommand):
        raise WireError(f"{type(message).__name__} with a new security context", ie="Security header type")
    context = _context_for(ue, message)
    if context is None:
        _reject(ue, EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED)
        return None
    try:
        context.unprotect(pdu)
    except WireError as error:
        ue.tell("message_discarded", reason=str(error))
        _reject(ue, EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED)
        return None
    ue.authentication.candidate = context
    return message


def _context_for(ue: Ue, command: nas.SecurityModeCommand) -> NasSecurityContext | None:
    """The context that the key set identifier means: the partial one of the latest AKA, or the current one with other algorithms."""
    algorithms = command.selected_nas_security_algorithms
    if not (isinstance(algorithms.ciphering, nas.CipheringAlgorithm) and isinstance(algorithms.integrity, nas.IntegrityAlgorithm)):
        return None
    ksi, eea, eia = command.nas_key_set_identifier, Eea(algorithms.ciphering), Eia(algorithms.integrity)
    partial, current = ue.authentication.partial, ue.security
    if ksi.mapped:
        return None
    if partial is not None and partial.ksi == ksi.value:
        return NasSecurityContext(side=Side.UE, ksi=partial.ksi, kasme=partial.kasme, eea=eea, eia=eia)
    if current is not None and current.ksi == ksi.value:
        return current.with_algorithms(eea, eia)
    return None


def answer(ue: Ue, command: nas.SecurityModeCommand) -> None:
    """Take the context into use and say so under its protection; or refuse."""
    context, ue.authentication.candidate = ue.authentication.candidate, None
    if context is None:
        return
    if ue.behaviour.refuse_security_mode or context.eia == Eia.EIA0:
        # EIA0 is for emergency bearer services only, which this UE does not ask for
        _reject(ue, EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED)
        return
    if not _is_what_was_sent(command.replayed_ue_security_capabilities, nas.UeSecurityCapability.of(ue.capability)):
        _reject(ue, EmmCause.UE_SECURITY_CAPABILITIES_MISMATCH)
        return
    ue.security = context
    ue.secured = True
    ue.authentication.partial = None
    # the network asks for the request again when what it got is not what was sent: clause 5.4.3.3
    is_changed = command.hash_mme is not None and command.hash_mme != hash_mme(ue.last_attach_request)
    complete = nas.SecurityModeComplete(
        imeisv=nas.ImeisvIdentity(imeisv=ue.imeisv) if command.imeisv_request == nas.ImeisvRequest.REQUESTED else None,
        replayed_nas_message_container=ue.last_attach_request if is_changed else None)
    ue.transmit(context.protect(nas.encode(complete), new_context=True))


def _is_what_was_sent(replayed: nas.UeSecurityCapability, sent: nas.UeSecurityCapability) -> bool:
    """Octets that the UE did not send may be missing or 0."""
    return (replayed.eea == sent.eea and replayed.eia == sent.eia and (replayed.uea or ()) == (sent.uea or ())
            and (replayed.uia or ()) == (sent.uia or ()) and (replayed.gea or ()) == (sent.gea or ()))


def _reject(ue: Ue, cause: EmmCause) -> None:
    ue.send_emm(nas.SecurityModeReject(emm_cause=cause))
