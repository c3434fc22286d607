"""The PCRF's configuration file: where it listens, its database, the policies it begins with, Rx and S9."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import BitRate, PlmnDigits, Seconds, TimeZoneName
from epc.node.database import check_database_url
from epc.node.diameter import DiameterListen, DiameterPeer, DiameterServer
from epc.pcrf.pcc import Arp, PolicyBook, Qci

MediaName = Literal["audio", "video", "data", "application", "control", "text", "message", "other"]


class MediaQos(Section):
    """What a kind of media gets when an application function asks for it."""

    qci: Qci
    arp: Arp = Arp()
    max_ul: BitRate | None = Field(default=None, description="for media that name no bandwidth")
    max_dl: BitRate | None = None


class ApplicationFunction(Section):
    """What one application function may ask for. The first one that fits holds."""

    host: str = Field(default="*", description="its Diameter identity, or its beginning and *")
    application: str = Field(default="*", description="AF-Application-Identifier, or its beginning and *")
    allowed: bool = True
    media: dict[MediaName, MediaQos] = Field(default={}, description="instead of those under rx.media")
    max_ul: BitRate | None = Field(default=None, description="more is refused with REQUESTED_SERVICE_NOT_AUTHORIZED, and this much offered")
    max_dl: BitRate | None = None
    sponsors: tuple[str, ...] = Field(default=(), description="Sponsor-Identities that may pay; others are refused with "
                                                              "UNAUTHORIZED_SPONSORED_DATA_CONNECTIVITY; default: all")
    rating_group: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    precedence: int = Field(default=50, ge=0, le=0xFFFF)


class RxConfig(Section):
    """Application functions ask for bearers: TS 29.214."""

    enabled: bool = True
    listen: tuple[DiameterListen, ...] = Field(default=(), description="besides gx.listen, where Rx is served too")
    peers: tuple[DiameterPeer, ...] = ()
    media: dict[MediaName, MediaQos] = Field(default={}, description="instead of TS 29.213 table 6.3.1: audio QCI 1, video 2, ...")
    functions: tuple[ApplicationFunction, ...] = Field(default=(), description="who may ask for what; none named: everybody for everything")
    max_filters: int = Field(default=30, ge=1, description="more filters in one media component are refused with FILTER_RESTRICTIONS")


class RoamingPartner(Section):
    """Another operator."""

    plmn: PlmnDigits
    realm: str = Field(default="", description="of its PCRF; default: epc.mncNNN.mccNNN.3gppnetwork.org (TS 23.003 clause 19.2)")
    local_breakout: bool = Field(default=True, description="its subscribers' policies at a PGW here come from their home PCRF")


class VisitedRestrictions(Section):
    """What the home PCRF may not have in this network; everything else is passed on."""

    qcis: tuple[Qci, ...] = Field(default=(), description="only these; rules of others are reported as failed; default: all")
    guaranteed: bool = Field(default=True, description="rules with a guaranteed bit rate")
    ambr_ul: BitRate | None = Field(default=None, description="no more than this")
    ambr_dl: BitRate | None = None


class S9Config(Section):
    """Policies for visited access: TS 29.215."""

    enabled: bool = Field(default=True, description="serve PCRFs of visited networks, if they are among the partners")
    listen: tuple[DiameterListen, ...] = Field(default=(), description="besides gx.listen, where S9 is served too")
    peers: tuple[DiameterPeer, ...] = Field(default=(), description="PCRFs of partners, or agents that lead to them (default_route: true)")
    partners: tuple[RoamingPartner, ...] = ()
    tx_s: Seconds = Field(default=5.0, description="how long the home PCRF's answer is awaited")
    on_failure: Literal["local", "reject"] = Field(default="local", description="home cannot be reached: decide here by own policies, or refuse")
    restrict: VisitedRestrictions = VisitedRestrictions()


class PcrfConfig(NodeConfig):
    origin_host: str = Field(min_length=1, description="Diameter identity, e.g. pcrf.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: str = Field(min_length=1, description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    gx: DiameterServer = DiameterServer()
    rx: RxConfig = RxConfig()
    s9: S9Config = S9Config()
    database: Annotated[str, AfterValidator(check_database_url)] | None = Field(
        default=None, description="rules, policies and usage: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, also the HSS's own; default: "
                                  "pcc.sqlite in state_directory, or in memory where there is none")
    database_poll_s: Seconds = Field(default=2.0, description="how often the database is asked for what other programs changed")
    time_zone: TimeZoneName = Field(default="UTC", description="of hours, days and periods of counting, such as Europe/Madrid")
    home_plmns: tuple[PlmnDigits, ...] = Field(default=(), description="networks besides the IMSI's own that count as home")
    policy: PolicyBook = PolicyBook()
    policy_file: Path | None = Field(default=None, description="a YAML file with the keys of policy; ctl reload_policy puts it in the place of "
                                                               "everything in the database")

    @model_validator(mode="after")
    def _one_source(self) -> PcrfConfig:
        if self.policy_file is not None and self.policy != PolicyBook():
            raise ValueError("policy and policy_file exclude each other")
        return self

    @property
    def database_url(self) -> str:
        if self.database is not None:
            return self.database
        return f"sqlite:///{Path(self.state_directory) / 'pcc.sqlite'}" if self.state_directory else "sqlite://"
