"""A subscription as the HSS keeps it: TS 29.272 clause 7.3.2 (Subscription-Data), TS 33.102 clause 6.3 (authentication)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from epc.wire.diameter.subscription import AccessRestrictionData, NetworkAccessMode, PdnType, SubscriberStatus
from epc.wire.identity import Imsi, Plmn


class Algorithm(StrEnum):
    """The algorithm set shared by the USIM and the AuC."""

    MILENAGE = "milenage"       # TS 35.206
    TUAK = "tuak"               # TS 35.231


NO_ACCESS_RESTRICTION = AccessRestrictionData(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgwIdentity:
    """A PDN GW by name, by address, or both: TS 29.272 clause 7.3.45."""

    host: str | None = None
    realm: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnConfiguration:
    """One APN the subscriber may use: TS 29.272 clause 7.3.35. The defaults are those of ``epclab subscriber add``."""

    context_id: int                             # 1 to 255 here; unique within the subscriber; names the default APN
    apn: str                                    # APN network identifier, or "*" (wildcard APN, TS 23.003 clause 9.2.1)
    pdn_type: PdnType = PdnType.IPV4
    qci: int = 9
    arp_priority_level: int = 8                 # 1 (highest) to 15
    preemption_capability: bool = False         # this bearer may take another one's resources
    preemption_vulnerability: bool = True       # another bearer may take this one's resources
    ambr_ul_bps: int = 50_000_000
    ambr_dl_bps: int = 100_000_000
    static_ipv4: str | None = None              # address of the UE when it is not the PGW that chooses
    static_ipv6: str | None = None              # the /64 prefix's first address, likewise
    pgw: PgwIdentity | None = None              # the PDN GW in use, as the MME told in Notify


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A subscriber: identity, secrets, subscription, and where the subscriber was last seen.

    ``opc`` is TOPc (32 octets) when ``algorithm`` is TUAK. ``op`` is kept when the subscriber was provisioned with the
    operator's value instead of the derived one; ``opc`` is computed from it then.
    """

    imsi: Imsi
    msisdn: str = ""                            # E.164 digits, empty when there is none

    algorithm: Algorithm = Algorithm.MILENAGE
    k: bytes
    opc: bytes
    op: bytes | None = None
    amf: bytes = b"\x80\x00"                    # separation bit set: TS 33.401 clause 6.1.1
    sqn: int = 0                                # 48 bits, SEQ (43) and IND (5): the last one handed out

    status: SubscriberStatus = SubscriberStatus.SERVICE_GRANTED
    network_access_mode: NetworkAccessMode = NetworkAccessMode.ONLY_PACKET
    access_restriction: AccessRestrictionData = NO_ACCESS_RESTRICTION
    roaming_allowed: bool = True
    rau_tau_timer_s: int = 3240                 # Subscribed-Periodic-RAU-TAU-Timer; 54 min, the default of T3412
    ambr_ul_bps: int = 500_000_000
    ambr_dl_bps: int = 1_000_000_000
    default_context_id: int = 1
    apns: tuple[ApnConfiguration, ...] = (ApnConfiguration(context_id=1, apn="internet"),)

    mme_host: str | None = None                 # Origin-Host of the serving MME; None: not registered
    mme_realm: str | None = None
    visited_plmn: Plmn | None = None
    purged: bool = False                        # "UE purged in MME", TS 23.401 clause 5.3.9.3
    imeisv: str | None = None

    @property
    def home_plmns(self) -> tuple[str, str]:
        """Both readings of the IMSI's beginning: the length of the MNC is not in the IMSI."""
        return self.imsi[:5], self.imsi[:6]
