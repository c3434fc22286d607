"""A PDN connection before it is one: what is asked of the gateways, and what they granted."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from epc.mme.ue_context import PdnConnection
from epc.wire import nas
from epc.wire.gtpv2 import Ambr, BearerQos
from epc.wire.nas import EsmCause


@dataclass(frozen=True, slots=True, kw_only=True)
class PdnRequest:
    """A PDN connection to be made, with everything decided but what SGW and PGW give."""

    ebi: int
    apn: str                                    # network identifier
    operator_identifier: str
    pgws: tuple[str, ...]                       # IP addresses, to be tried in this order
    pdn_type: nas.PdnType
    static_ipv4: IPv4Address | None = None
    qos: BearerQos
    ambr: Ambr
    charging_characteristics: int | None = None
    protocol_configuration_options: bytes | None = None
    extended_protocol_configuration_options: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PdnGranted:
    """A PDN connection as the gateways made it, with what goes on to the phone."""

    pdn: PdnConnection
    esm_cause: EsmCause | None
    protocol_configuration_options: bytes | None
    extended_protocol_configuration_options: bytes | None
