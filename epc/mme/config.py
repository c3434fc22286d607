"""The MME's configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import Host, PlmnDigits, Port, Seconds
from epc.node.diameter import DiameterPatience, DiameterPeer
from epc.node.gtpc import GtpcInterface, GtpcSettings
from epc.peer.timer import Timer
from epc.security.nas_algorithms import Eea, Eia
from epc.transport.interface import Address
from epc.wire import nas

S1AP_PORT = 36412
Octet = Annotated[int, Field(ge=0, le=0xFF)]
TwoOctets = Annotated[int, Field(ge=0, le=0xFFFF)]


def epc_realm(plmn: str) -> str:
    """The realm of a PLMN's core network: TS 23.003 clause 19.2."""
    return f"epc.mnc{plmn[3:].zfill(3)}.mcc{plmn[:3]}.3gppnetwork.org"


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


class PdnGateway(Section):
    """A PGW to select by APN; "*" stands for every APN that no other entry names."""

    host: Host
    apns: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)

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
    t3485_s: Seconds = Field(default=8.0, description="Activate Default EPS Bearer Context Accept")
    t3489_s: Seconds = Field(default=4.0, description="ESM Information Response")
    t3495_s: Seconds = Field(default=8.0, description="Deactivate EPS Bearer Context Accept")
    s1_response_s: Seconds = Field(default=5.0, description="an eNodeB's answer to a request of S1AP")
    mobile_reachable_margin_s: Seconds = Field(default=240.0, description="silence beyond T3412 after which an idle phone counts as gone")
    purge_s: Annotated[float, Field(ge=0)] = Field(default=3600.0, description="how long the context of a detached phone is kept; 0: not at all")


class MmeTimers:
    """The configured timers, ready to use."""

    __slots__ = ("s1_response", "t3413", "t3422", "t3450", "t3460", "t3470", "t3485", "t3489", "t3495", "tx")

    def __init__(self, timers: TimerConfig, tx_s: float) -> None:
        self.t3413 = Timer("T3413", timers.t3413_s, 2)
        self.t3422 = Timer("T3422", timers.t3422_s, 4)
        self.t3450 = Timer("T3450", timers.t3450_s, 4)
        self.t3460 = Timer("T3460", timers.t3460_s, 4)
        self.t3470 = Timer("T3470", timers.t3470_s, 4)
        self.t3485 = Timer("T3485", timers.t3485_s, 4)
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
    sgws: Annotated[tuple[ServingGateway, ...], Field(min_length=1)]
    pgws: Annotated[tuple[PdnGateway, ...], Field(min_length=1)]
    relative_capacity: Octet = 255
    security: SecurityConfig = SecurityConfig()
    gtp: GtpcSettings = GtpcSettings()
    timers: TimerConfig = TimerConfig()
    network_name: NetworkNameConfig | None = None
    ims_voice_over_ps: bool = Field(default=False, description="the EPS network feature support that phones are told")

    @model_validator(mode="after")
    def _check(self) -> MmeConfig:
        if sum(len(tais.tacs) for tais in self.tais) > 16:
            raise ValueError("tais: at most 16 tracking areas fit the list that a phone is given")
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
        if self.s6a.destination_realm is not None:
            return self.s6a.destination_realm
        for plmn in [gummei.plmn for gummei in self.gummeis] + [tais.plmn for tais in self.tais]:
            if imsi.startswith(plmn):
                return epc_realm(plmn)
        return epc_realm(imsi[:5])

    def sgw_for(self, tac: int) -> Address:
        """The first SGW for the tracking area, one without restriction included."""
        for sgw in self.sgws:
            if tac in sgw.tacs:
                return sgw.address
        unrestricted = [sgw for sgw in self.sgws if not sgw.tacs]
        return (unrestricted or self.sgws)[0].address

    def pgw_for(self, apn: str) -> str | None:
        """The address of the PGW that serves the APN's network identifier, ``None`` when there is none."""
        for name in (apn.lower(), "*"):
            for pgw in self.pgws:
                if name in [each.lower() for each in pgw.apns]:
                    return pgw.host
        return None
