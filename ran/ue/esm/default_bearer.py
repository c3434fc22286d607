"""Default EPS bearer contexts: activation (TS 24.301 clause 6.4.1) and the deactivation of any bearer (clause 6.4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.nas import EsmCause
from ran.ue.indications import EsmRefused
from ran.ue.state import PdnConnection

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def activate(ue: Ue, request: nas.ActivateDefaultEpsBearerContextRequest) -> nas.ActivateDefaultEpsBearerContextAccept:
    """Take the bearer into use; returns the message to answer with. Raises :class:`EsmRefused` when it makes no sense."""
    ebi = request.eps_bearer_identity
    if not 5 <= ebi <= 15:
        raise EsmRefused(EsmCause.INVALID_EPS_BEARER_IDENTITY)
    # clause 6.4.1.6: a context of the same identity that is still there is the network's old one
    for connection in list(ue.pdn_connections.values()):
        if ebi in connection.dedicated:
            del connection.dedicated[ebi]
    ue.drop_pdn_connection(ebi)
    options = _options(ue, request.protocol_configuration_options)
    ue.pdn_connections[ebi] = PdnConnection(
        ebi=ebi, apn=request.access_point_name, address=request.pdn_address, qos=request.eps_qos, apn_ambr=request.apn_ambr,
        dns_servers=options.dns_server_ipv4_addresses, mtu_octets=options.ipv4_link_mtu_octets, dedicated={})
    ue.tell("bearer_activated", ebi=ebi, apn=request.access_point_name, qci=request.eps_qos.qci, ip=str(request.pdn_address.ipv4_address))
    return nas.ActivateDefaultEpsBearerContextAccept(eps_bearer_identity=ebi)


def _options(ue: Ue, octets: bytes | None) -> nas.ProtocolConfigurationOptions:
    """Options that cannot be read count as absent: TS 24.301 clause 7.7.1."""
    if octets is None:
        return nas.ProtocolConfigurationOptions()
    try:
        return nas.decode_protocol_configuration_options(octets)
    except WireError as error:
        ue.tell("message_discarded", reason=f"protocol configuration options: {error}")
        return nas.ProtocolConfigurationOptions()


def deactivate(ue: Ue, request: nas.DeactivateEpsBearerContextRequest) -> None:
    """DEACTIVATE EPS BEARER CONTEXT REQUEST: the default bearer takes its dedicated ones with it (clause 6.4.4.3)."""
    ebi = request.eps_bearer_identity
    for connection in ue.pdn_connections.values():
        if connection.dedicated.pop(ebi, None) is not None:
            ue.tell("bearer_deactivated", ebi=ebi, apn=connection.apn)
    ue.drop_pdn_connection(ebi)
    ue.radio_bearers -= {ebi}
    ue.send_esm(nas.DeactivateEpsBearerContextAccept(eps_bearer_identity=ebi))
    ue.esm.feed(request)
