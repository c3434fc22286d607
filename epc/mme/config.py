"""The MME's configuration file."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import Digits, Host, PlmnDigits, Port, Seconds, TimeZoneName
from epc.node.diameter import DiameterPatience, DiameterPeer
from epc.node.gtpc import GtpcInterface, GtpcSettings
from epc.peer.timer import Timer
from epc.security.nas_algorithms import Eea, Eia
from epc.transport.dns import DNS_PORT
from epc.transport.interface import Address
from epc.wire import nas
from epc.wire.fqdn import epc_realm

S1AP_PORT = 36412
Octet = Annotated[int, Field(ge=0, le=0xFF)]
TwoOctets = Annotated[int, Field(ge=0, le=0xFFFF)]


THREE_DIGIT_MNC: frozenset[str] = frozenset({
    "302", "310", "311", "312", "313", "314", "315", "316", "334", "338", "342", "344", "346", "348", "352", "354", "356", "358", "360", "365",
    "366", "376", "708", "722", "732", "750"})
"""Countries (MCC) whose MNCs have three digits: ITU-T E.212."""

Refusal = Literal[
    "EPS_SERVICES_NOT_ALLOWED", "EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED", "PLMN_NOT_ALLOWED", "TRACKING_AREA_NOT_ALLOWED",
    "ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA", "EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN", "NO_SUITABLE_CELLS_IN_TRACKING_AREA", "NETWORK_FAILURE",
    "SEVERE_NETWORK_FAILURE"]
"""EMM causes #7, #8, #11, #12, #13, #14, #15, #17 and #42 of TS 24.301 annex A."""


class S1Endpoint(Section):
    """Where eNodeBs connect to."""

    host: Host
    port: Port = S1AP_PORT

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class Gummei(Section):
    """An identity of this MME: TS 23.003 clause 2.8.1. The first one is given to phones."""

    plmn: PlmnDigits
    mme_group_id: TwoOctets
    mme_code: Octet


class ServedTais(Section):
    """Tracking areas of one PLMN that this MME serves."""

    plmn: PlmnDigits
    tacs: Annotated[tuple[TwoOctets, ...], Field(min_length=1, max_length=16)]


class ServingGateway(GtpcInterface):
    """An SGW to select; ``tacs`` restricts it to phones in these tracking areas (any, when empty)."""

    tacs: tuple[TwoOctets, ...] = ()
    name: str = Field(default="", description="canonical node name (TS 29.303 clause 4.1): PGWs close to it are preferred")


class PdnGateway(Section):
    """A PGW to select by APN; "*" stands for every APN that no other entry names. It goes before what subscription and DNS say."""

    host: Host
    apns: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    home_plmns: tuple[PlmnDigits, ...] = Field(default=(), description="for subscribers of these networks only; default: of any")

    @field_validator("host")
    @classmethod
    def _is_usable(cls, host: str) -> str:
        if host in ("0.0.0.0", "::"):
            raise ValueError("the SGW needs an address that it can send to")
        return host


class S6aConfig(DiameterPatience):
    peers: Annotated[tuple[DiameterPeer, ...], Field(min_length=1)]
    host: Host | None = Field(default=None, description="local address of the connections; default: the system's choice")
    origin_host: str | None = Field(default=None, description="default: the MME's name after TS 23.003 clause 19.4.2.4")
    origin_realm: str | None = Field(default=None, description="default: the realm of the first GUMMEI's PLMN")
    destination_realm: str | None = Field(default=None, description="default: the realm of the IMSI's home PLMN")
    tx_s: Seconds = Field(default=5.0, description="how long an answer is awaited")


class NameServer(Section):
    host: Host
    port: Port = DNS_PORT

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class DnsSection(Section):
    """Where PGWs and SGWs are found that the configuration does not name (TS 29.303)."""

    servers: Annotated[tuple[NameServer, ...], Field(min_length=1)]
    host: Host | None = Field(default=None, description="local address of the questions; default: the system's choice")
    timeout_s: Seconds = Field(default=1.0, description="how long one server's answer is awaited")
    attempts: int = Field(default=2, ge=1, le=10, description="rounds over the servers")


class LocalBreakout(Section):
    """Subscribers from abroad whose traffic leaves in this network, where their subscription allows (VPLMN-Dynamic-Address-Allowed)."""

    home_plmns: tuple[PlmnDigits, ...] = Field(default=(), description="default: of every network")
    apns: tuple[str, ...] = Field(default=(), description="default: to every APN")


class RoamingSection(Section):
    """What this network does for subscribers of others."""

    partners: tuple[PlmnDigits, ...] | None = Field(
        default=None, description="home networks with which there is an agreement; [] is nobody; default: every network")
    without_agreement: Refusal = Field(default="PLMN_NOT_ALLOWED", description="what phones of other networks are told")
    local_breakout: tuple[LocalBreakout, ...] = Field(default=(), description="default: everything goes home")
    rat_not_allowed: Refusal = Field(
        default="NO_SUITABLE_CELLS_IN_TRACKING_AREA", description="what DIAMETER_ERROR_RAT_NOT_ALLOWED means to the phone (TS 29.272 annex A)")
    home_unreachable: Refusal = Field(
        default="NO_SUITABLE_CELLS_IN_TRACKING_AREA", description="DIAMETER_UNABLE_TO_DELIVER: the agents do not reach the HSS now; with "
                                                                  "NETWORK_FAILURE the phone tries again here, else it looks elsewhere")
    realm_not_served: Refusal = Field(
        default="NO_SUITABLE_CELLS_IN_TRACKING_AREA", description="DIAMETER_REALM_NOT_SERVED: no agent knows the way to the home network")

    def is_partner(self, home_plmn: str) -> bool:
        return self.partners is None or home_plmn in self.partners

    def breaks_out(self, home_plmn: str, apn: str) -> bool:
        return any((not each.home_plmns or home_plmn in each.home_plmns) and (not each.apns or apn.lower() in [name.lower() for name in each.apns])
                   for each in self.local_breakout)


class AccessRule(Section):
    """Subscribers who are served, or not, whatever the HSS says. The first rule that covers an IMSI decides."""

    imsis: Annotated[Digits, StringConstraints(pattern=r"^\d{1,15}(-\d{6,15})?$")] = Field(
        description='digits that the IMSI begins with ("00101"), or the first and the last IMSI of a range')
    allowed: bool = False
    cause: Refusal = "PLMN_NOT_ALLOWED"

    def covers(self, imsi: str) -> bool:
        first, is_range, last = self.imsis.partition("-")
        return len(imsi) == len(first) and first <= imsi <= last if is_range else imsi.startswith(first)


class Zone(Section):
    """A zone that home networks know by its code: TS 23.003 clause 4.4, TS 29.272 clause 7.3.9."""

    code: TwoOctets
    tacs: Annotated[tuple[TwoOctets, ...], Field(min_length=1)]
    plmn: PlmnDigits | None = Field(default=None, description="default: any that is served")

    def contains(self, plmn: str, tac: int) -> bool:
        return tac in self.tacs and self.plmn in (None, plmn)


class RegionalSection(Section):
    """Regional subscription. Without zones an HSS's zone codes mean nothing here."""

    zones: tuple[Zone, ...] = ()
    cause: Refusal = Field(default="TRACKING_AREA_NOT_ALLOWED", description="what a phone outside its zones is told")


class SecurityConfig(Section):
    """NAS algorithms in order of preference, most wanted first; what is not listed is not used."""

    ciphering: Annotated[tuple[Literal["EEA0", "EEA1", "EEA2", "EEA3"], ...], Field(min_length=1)] = ("EEA2", "EEA1", "EEA3", "EEA0")
    integrity: Annotated[tuple[Literal["EIA0", "EIA1", "EIA2", "EIA3"], ...], Field(min_length=1)] = ("EIA2", "EIA1", "EIA3")
    skip_authentication_of_known_ue: bool = Field(
        default=True, description="a phone whose GUTI and integrity protection fit its stored context is not authenticated again")

    @property
    def eea_preference(self) -> tuple[Eea, ...]:
        return tuple([Eea[name] for name in self.ciphering])

    @property
    def eia_preference(self) -> tuple[Eia, ...]:
        return tuple([Eia[name] for name in self.integrity])


class TimerConfig(Section):
    """Timers of TS 24.301 table 10.2.2, in seconds. Retransmissions are four, where the table says five expiries."""

    t3402_s: Annotated[int, Field(ge=0, le=11160)] = Field(default=720, description="the phone's wait after five failed attempts; sent to it")
    t3412_s: Annotated[int, Field(ge=0, le=11160)] = Field(default=3240, description="periodic tracking area update; sent to the phone; 0: none")
    t3413_s: Seconds = Field(default=4.0, description="paging response")
    t3422_s: Seconds = Field(default=6.0, description="Detach Accept")
    t3450_s: Seconds = Field(default=6.0, description="Attach Complete, Tracking Area Update Complete, GUTI Reallocation Complete")
    t3460_s: Seconds = Field(default=6.0, description="Authentication Response, Security Mode Complete")
    t3470_s: Seconds = Field(default=6.0, description="Identity Response")
    t3485_s: Seconds = Field(default=8.0, description="Activate Default and Dedicated EPS Bearer Context Accept")
    t3486_s: Seconds = Field(default=8.0, description="Modify EPS Bearer Context Accept")
    t3489_s: Seconds = Field(default=4.0, description="ESM Information Response")
    t3495_s: Seconds = Field(default=8.0, description="Deactivate EPS Bearer Context Accept")
    s1_response_s: Seconds = Field(default=5.0, description="an eNodeB's answer to a request of S1AP")
    mobile_reachable_margin_s: Seconds = Field(default=240.0, description="silence beyond T3412 after which an idle phone counts as gone")
    purge_s: Annotated[float, Field(ge=0)] = Field(default=3600.0, description="how long the context of a detached phone is kept; 0: not at all")


class MmeTimers:
    """The configured timers, ready to use."""

    __slots__ = ("s1_response", "t3413", "t3422", "t3450", "t3460", "t3470", "t3485", "t3486", "t3489", "t3495", "tx")

    def __init__(self, timers: TimerConfig, tx_s: float) -> None:
        self.t3413 = Timer("T3413", timers.t3413_s, 2)
        self.t3422 = Timer("T3422", timers.t3422_s, 4)
        self.t3450 = Timer("T3450", timers.t3450_s, 4)
        self.t3460 = Timer("T3460", timers.t3460_s, 4)
        self.t3470 = Timer("T3470", timers.t3470_s, 4)
        self.t3485 = Timer("T3485", timers.t3485_s, 4)
        self.t3486 = Timer("T3486", timers.t3486_s, 4)
        self.t3489 = Timer("T3489", timers.t3489_s, 2)
        self.t3495 = Timer("T3495", timers.t3495_s, 4)
        self.s1_response = Timer("S1AP response", timers.s1_response_s)
        self.tx = Timer("Tx", tx_s)


class NetworkNameConfig(Section):
    """What phones display, sent in EMM INFORMATION."""

    full: str = Field(min_length=1, max_length=100)
    short: str | None = Field(default=None, min_length=1, max_length=100)


class MmeConfig(NodeConfig):
    s1: Annotated[tuple[S1Endpoint, ...], Field(min_length=1)]
    s11: GtpcInterface
    s6a: S6aConfig
    gummeis: Annotated[tuple[Gummei, ...], Field(min_length=1, max_length=256)]
    tais: Annotated[tuple[ServedTais, ...], Field(min_length=1)]
    sgws: tuple[ServingGateway, ...] = ()
    pgws: tuple[PdnGateway, ...] = ()
    dns: DnsSection | None = Field(default=None, description="needed where sgws or pgws name none")
    roaming: RoamingSection = RoamingSection()
    access_control: tuple[AccessRule, ...] = ()
    regional: RegionalSection = RegionalSection()
    relative_capacity: Octet = 255
    security: SecurityConfig = SecurityConfig()
    gtp: GtpcSettings = GtpcSettings()
    timers: TimerConfig = TimerConfig()
    network_name: NetworkNameConfig | None = None
    time_zone: TimeZoneName = Field(default="UTC", description="where its cells are, such as Europe/Madrid: gateways are told, and charge by it")
    ims_voice_over_ps: bool = Field(default=False, description="the EPS network feature support that phones are told")

    @model_validator(mode="after")
    def _check(self) -> MmeConfig:
        if sum(len(tais.tacs) for tais in self.tais) > 16:
            raise ValueError("tais: at most 16 tracking areas fit the list that a phone is given")
        if self.dns is None and not (self.sgws and self.pgws):
            raise ValueError(f"{'pgws' if self.sgws else 'sgws'}: is missing, and there is no dns to ask")
        if self.timers.t3412_s and nas.GprsTimer.of(self.timers.t3412_s).seconds != self.timers.t3412_s:
            raise ValueError(f"timers.t3412_s: {self.timers.t3412_s} s cannot be said exactly; use 2 s steps to 62 s, minutes to 31, then 6 minutes")
        return self

    @property
    def origin_host(self) -> str:
        """TS 23.003 clause 19.4.2.4."""
        first = self.gummeis[0]
        return self.s6a.origin_host or f"mmec{first.mme_code:02x}.mmegi{first.mme_group_id:04x}.mme.{epc_realm(first.plmn)}"

    @property
    def origin_realm(self) -> str:
        return self.s6a.origin_realm or epc_realm(self.gummeis[0].plmn)

    def home_realm(self, imsi: str) -> str:
        """Where the HSS of ``imsi`` is. How long its MNC is follows from the PLMNs that this MME knows; else it is taken for two digits."""
        return self.s6a.destination_realm or epc_realm(self.home_plmn(imsi))

    def home_plmn(self, imsi: str) -> str:
        """The PLMN that the IMSI belongs to. The length of its MNC is known of networks that the configuration names, and else of countries."""
        known = self._known_plmns
        if imsi[:6] in known:
            return imsi[:6]
        return imsi[:5] if imsi[:5] in known or imsi[:3] not in THREE_DIGIT_MNC else imsi[:6]

    @cached_property
    def _known_plmns(self) -> frozenset[str]:
        known = [*self._own_plmns, *(self.roaming.partners or ())]
        known += [plmn for pgw in self.pgws for plmn in pgw.home_plmns]
        known += [plmn for breakout in self.roaming.local_breakout for plmn in breakout.home_plmns]
        return frozenset(known)

    @cached_property
    def _own_plmns(self) -> frozenset[str]:
        return frozenset([gummei.plmn for gummei in self.gummeis] + [tais.plmn for tais in self.tais])

    def is_own(self, plmn: str) -> bool:
        """Whether subscribers of ``plmn`` are at home here."""
        return plmn in self._own_plmns

    def sgw_for(self, tac: int) -> ServingGateway | None:
        """The first SGW for the tracking area, else one without restriction; ``None``: the DNS is to be asked."""
        fitting = [sgw for sgw in self.sgws if tac in sgw.tacs] or [sgw for sgw in self.sgws if not sgw.tacs]
        return fitting[0] if fitting else None if self.dns is not None else self.sgws[0]

    def pgws_for(self, apn: str, imsi: str) -> tuple[str, ...]:
        """Addresses of the PGWs that the configuration has for the APN's network identifier, in their order."""
        home = self.home_plmn(imsi)
        for name in (apn.lower(), "*"):
            found = [pgw.host for pgw in self.pgws
                     if name in [each.lower() for each in pgw.apns] and (not pgw.home_plmns or home in pgw.home_plmns)]
            if found:
                return tuple(found)
        return ()
