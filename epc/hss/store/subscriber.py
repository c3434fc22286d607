"""A subscription as the HSS keeps it: TS 29.272 clause 7.3.2 (Subscription-Data), TS 33.102 clause 6.3 (authentication)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    NetworkAccessMode,
    OperatorDeterminedBarring,
    PdnType,
    SubscriberStatus,
)
from epc.wire.identity import Imsi, Plmn


class Algorithm(StrEnum):
    """The algorithm set shared by the USIM and the AuC."""

    MILENAGE = "milenage"       # TS 35.206
    TUAK = "tuak"               # TS 35.231


NO_ACCESS_RESTRICTION = AccessRestrictionData(0)
NO_BARRING = OperatorDeterminedBarring(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgwIdentity:
    """A PDN GW by name, by address, or both: TS 29.272 clause 7.3.45."""

    host: str | None = None
    realm: str | None = None
    address: str | None = None
    is_static: bool = False         # the operator's choice, for every PDN connection; else the one in use last, as an MME told (clause 7.3.44)


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
    pgw: PgwIdentity | None = None              # the PDN GW in use, as the MME told in Notify, or the only one that may be used
    vplmn_allowed: bool = False                 # abroad, a PDN GW of the visited network may serve it: VPLMN-Dynamic-Address-Allowed
    apn_oi_replacement: str | None = None       # stands in the place of the APN-OI when the PDN GW is looked for: TS 23.003 clause 9.1.2


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
    barring: OperatorDeterminedBarring = NO_BARRING         # what of the services is barred: TS 23.015
    roaming_allowed: bool = True
    allowed_plmns: tuple[str, ...] = ()         # visited networks, or countries (MCC), where roaming is allowed; none named: everywhere
    blocked_plmns: tuple[str, ...] = ()         # where it is not
    zone_codes: tuple[int, ...] = ()            # Regional-Subscription-Zone-Code, at most 10; none: the whole network
    apn_oi_replacement: str | None = None       # for every APN that has none of its own
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

    def may_roam_in(self, plmn: str) -> bool:
        """Whether the subscription lets the subscriber use the visited network ``plmn``."""
        def is_named(plmns: tuple[str, ...]) -> bool:
            return plmn in plmns or plmn[:3] in plmns

        return self.roaming_allowed and not is_named(self.blocked_plmns) and (not self.allowed_plmns or is_named(self.allowed_plmns))

    @property
    def home_plmns(self) -> tuple[str, str]:
        """Both readings of the IMSI's beginning: the length of the MNC is not in the IMSI."""
        return self.imsi[:5], self.imsi[:6]
