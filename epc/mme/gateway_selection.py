"""Which PGWs and SGWs serve a phone: TS 23.401 clauses 4.3.8.1 and 4.3.8.2, TS 29.303 clauses 5.1 and 5.2, TS 23.003 clauses 9 and 19.4.

A PGW is taken, in this order, from the MME's own configuration, from the subscription (static allocation), from the DNS. A subscriber abroad is
served by a PGW at home (home routed), or by one of the visited network (local breakout) where the subscription allows and this operator wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from epc.mme import snaptr
from epc.mme.snaptr import Service
from epc.procedure import Reject
from epc.transport.dns import DnsClient, DnsError, NameUnknown
from epc.transport.gtpc import GTPC_PORT
from epc.transport.interface import Address
from epc.wire.diameter.subscription import (
    ApnConfiguration,
    OperatorDeterminedBarring,
    PdnGwAllocationType,
    SubscriptionData,
    VplmnDynamicAddressAllowed,
)
from epc.wire.fqdn import apn_fqdn, apn_operator_identifier, is_operator_identifier, tai_fqdn
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

S5, S8 = Service("x-3gpp-pgw", ("x-s5-gtp",)), Service("x-3gpp-pgw", ("x-s8-gtp",))
S11 = Service("x-3gpp-sgw", ("x-s11",))
_NO_BARRING = OperatorDeterminedBarring(0)


@dataclass(frozen=True, slots=True)
class Routing:
    """Where the PDN connection leaves for the data network."""

    operator_identifier: str        # the APN-OI: of the home network, or of this one
    looked_up_with: str             # that, or the subscription's APN-OI Replacement, which serves to find the PGW and for nothing else
    is_home_routed: bool            # abroad, over S8
    is_local_breakout: bool         # abroad, over S5


@dataclass(frozen=True, slots=True)
class PgwSelection:
    """PGWs in the order in which they are to be tried."""

    addresses: tuple[str, ...]      # IP addresses
    operator_identifier: str
    how: str                        # "configuration", "subscription" or the DNS name that was asked


def routing_of(mme: Mme, imsi: str, apn: str, subscription: SubscriptionData, subscribed: ApnConfiguration) -> Routing:
    """Home routed, local breakout, or not roaming at all. Raises :class:`Reject` when the barring leaves neither."""
    config = mme.config
    home = config.home_plmn(imsi)
    replacement = subscribed.apn_oi_replacement or subscription.apn_oi_replacement
    if replacement is not None and not is_operator_identifier(replacement):
        mme.log.info("subscription.apn_oi_replacement_unusable", value=replacement)
        replacement = None
    at_home = apn_operator_identifier(home)
    if config.is_own(home):
        return Routing(at_home, replacement or at_home, is_home_routed=False, is_local_breakout=False)
    barring = subscription.operator_determined_barring or _NO_BARRING
    may_break_out = (subscribed.vplmn_dynamic_address_allowed == VplmnDynamicAddressAllowed.ALLOWED
                     and OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED not in barring)
    home_barred = OperatorDeterminedBarring.ROAMER_ACCESS_HPLMN_AP_BARRED in barring
    if may_break_out and (home_barred or config.roaming.breaks_out(home, apn)):
        # an APN-OI Replacement points to a place in the home network
        here = apn_operator_identifier(config.gummeis[0].plmn)
        return Routing(here, here, is_home_routed=False, is_local_breakout=True)
    if home_barred:
        raise Reject(EmmCause.ESM_FAILURE, "the home network's access points are barred abroad", inner=EsmCause.OPERATOR_DETERMINED_BARRING)
    return Routing(at_home, replacement or at_home, is_home_routed=True, is_local_breakout=False)


async def select_pgws(mme: Mme, ue: UeContext, apn: str, subscription: SubscriptionData, subscribed: ApnConfiguration) -> PgwSelection:
    """The PGWs for an APN network identifier. Raises :class:`Reject` when there is none or it cannot be found out."""
    imsi = ue.known_imsi
    routing = routing_of(mme, imsi, apn, subscription, subscribed)
    oi = routing.operator_identifier
    configured = mme.config.pgws_for(apn, imsi)
    if configured:
        return PgwSelection(configured, oi, "configuration")
    if not routing.is_local_breakout and (static := await _static(mme, subscribed)):
        return PgwSelection(static, oi, "subscription")
    if mme.resolver is None:
        raise Reject(EmmCause.ESM_FAILURE, f"no PGW serves APN {apn!r}", inner=EsmCause.MISSING_OR_UNKNOWN_APN)
    name = apn_fqdn(apn, routing.looked_up_with)
    try:
        found = await snaptr.candidates(
            mme.resolver, name, S8 if routing.is_home_routed else S5, entropy=mme.entropy, ipv6=_is_ipv6(mme.config.s11.host))
    except NameUnknown:
        found = []
    except DnsError as error:
        raise Reject(EmmCause.ESM_FAILURE, f"APN {apn!r}: {error}", inner=EsmCause.NETWORK_FAILURE) from None
    if not routing.is_home_routed and ue.session is not None and ue.session.sgw_name:
        found = snaptr.by_closeness(found, ue.session.sgw_name)
    addresses = tuple(dict.fromkeys(address for candidate in found for address in candidate.addresses))
    if not addresses:
        raise Reject(EmmCause.ESM_FAILURE, f"the DNS has no PGW under {name}", inner=EsmCause.MISSING_OR_UNKNOWN_APN)
    mme.log.debug("pgw.selected", name=name, pgws=addresses)
    return PgwSelection(addresses, oi, name)


async def _static(mme: Mme, subscribed: ApnConfiguration) -> tuple[str, ...]:
    """The PGW that the subscription names, unless it only reports the one that was in use last (TS 29.272 clause 7.3.44)."""
    agent = subscribed.mip6_agent_info
    if agent is None or subscribed.pdn_gw_allocation_type == PdnGwAllocationType.DYNAMIC:
        return ()
    if agent.mip_home_agent_address:
        return tuple([str(address) for address in agent.mip_home_agent_address])
    if agent.mip_home_agent_host is None or mme.resolver is None:
        return ()
    name = agent.mip_home_agent_host.destination_host
    try:
        return await _by_name(mme.resolver, name, ipv6=_is_ipv6(mme.config.s11.host))
    except NameUnknown:
        raise Reject(EmmCause.ESM_FAILURE, f"the subscription's PGW {name} is unknown", inner=EsmCause.NETWORK_FAILURE) from None
    except DnsError as error:
        raise Reject(EmmCause.ESM_FAILURE, f"the subscription's PGW: {error}", inner=EsmCause.NETWORK_FAILURE) from None


async def _by_name(resolver: DnsClient, name: str, *, ipv6: bool) -> tuple[str, ...]:
    found = await snaptr.host(resolver, name, ipv6=ipv6)
    return () if found is None else found.addresses


async def select_sgw(mme: Mme, ue: UeContext) -> tuple[Address, str]:
    """Address on S11 and canonical node name (which may be empty) of the SGW for the phone's tracking area. Raises :class:`Reject`."""
    tai = ue.known_location.tai
    configured = mme.config.sgw_for(tai.tac)
    if configured is not None:
        return configured.address, configured.name
    assert mme.resolver is not None, "the configuration has SGWs or name servers"
    name = tai_fqdn(tai.plmn, tai.tac)
    try:
        found = await snaptr.candidates(mme.resolver, name, S11, entropy=mme.entropy, ipv6=_is_ipv6(mme.config.s11.host))
    except DnsError as error:
        raise Reject(EmmCause.ESM_FAILURE, f"no SGW: {error}", inner=EsmCause.NETWORK_FAILURE) from None
    if not found:
        raise Reject(EmmCause.ESM_FAILURE, f"the DNS has no SGW under {name}", inner=EsmCause.NETWORK_FAILURE)
    return Address(found[0].addresses[0], GTPC_PORT), found[0].node


def _is_ipv6(host: str) -> bool:
    return isinstance(ip_address(host), IPv6Address)
