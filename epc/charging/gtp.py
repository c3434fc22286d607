"""GTPv2 elements as charging records write them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from epc.wire.cdr import EpcQos, PdpType
from epc.wire.gtpv2 import BearerQos, Paa, PdnType, UeTimeZone, Uli
from epc.wire.gtpv2 import elements as ie

_OPERATOR = re.compile(r"\.mnc(\d{3})\.mcc(\d{3})\.gprs$", re.IGNORECASE)
_TYPES = {PdnType.IPV4: PdpType.IPV4, PdnType.IPV6: PdpType.IPV6, PdnType.IPV4V6: PdpType.IPV4V6}


def qos_of(qos: BearerQos) -> EpcQos:
    """A non-GBR bearer has no rates of its own."""
    return EpcQos(
        qci=qos.qci, arp=ie.ARP.encode(qos.arp)[0], mbr_uplink_bps=qos.mbr_uplink_kbps * 1000 or None,
        mbr_downlink_bps=qos.mbr_downlink_kbps * 1000 or None, gbr_uplink_bps=qos.gbr_uplink_kbps * 1000 or None,
        gbr_downlink_bps=qos.gbr_downlink_kbps * 1000 or None)


def location_of(uli: Uli | None) -> bytes | None:
    return None if uli is None else ie.ULI.encode(uli)


def time_zone_of(zone: UeTimeZone | None) -> bytes | None:
    return None if zone is None else ie.UE_TIME_ZONE.encode(zone)


def split_apn(apn: str) -> tuple[str, str | None]:
    """Network identifier, and the PLMN of the operator identifier if there is one (TS 23.003 clause 9.1). An MNC of 0xx has two digits here."""
    found = _OPERATOR.search(apn)
    if found is None:
        return apn, None
    mnc, mcc = found[1], found[2]
    return apn[:found.start()], mcc + (mnc[1:] if mnc[0] == "0" else mnc)


def address_of(paa: Paa | None) -> IPv4Address | IPv6Address | None:
    """The UE's address; of IPv6 the prefix."""
    if paa is None:
        return None
    if paa.ipv4 is not None:
        return paa.ipv4
    return None if paa.ipv6 is None else IPv6Address(int(paa.ipv6) >> 64 << 64)


def pdn_type_of(paa: Paa | None) -> PdpType | None:
    return None if paa is None or not isinstance(paa.pdn_type, PdnType) else _TYPES.get(paa.pdn_type)


def is_dynamic(asked: Paa | None) -> bool:
    """Did the request leave the address to the PGW? A static one comes with the subscription."""
    return asked is None or not any((int(asked.ipv4 or 0), int(asked.ipv6 or 0)))
