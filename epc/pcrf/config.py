"""The PCRF's configuration file: where it listens, and the policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import Digits
from epc.node.diameter import DiameterServer
from epc.wire.diameter import RatType
from epc.wire.diameter.gx import EventTrigger

GBR_QCIS = frozenset({1, 2, 3, 4, 65, 66, 67, 71, 72, 73, 74, 75, 76})     # TS 23.203 table 6.1.7
MAXIMUM_BPS = 0xFFFFFFFF                                                    # what Max-Requested-Bandwidth can say

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:bit/s|bps)?")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def _bit_rate(value: object) -> object:
    """``50M`` is 50 Mbit/s."""
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError("a bit rate is a number with k, M or G")
    return round(float(match[1]) * _FACTORS[match[2]]) if match else value


BitRate = Annotated[int, BeforeValidator(_bit_rate), Field(ge=0, le=MAXIMUM_BPS)]
Qci = Annotated[int, Field(ge=1, le=254)]
ImsiPattern = Annotated[Digits, StringConstraints(pattern=r"^\d{1,15}$|^\d{0,14}\*$")]
RuleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
# TS 29.214 clause 5.3.8 as used by TS 29.212 clause 5.4.2: permit, direction out, as the downlink packet looks
FlowDescription = Annotated[str, StringConstraints(pattern=r"^permit out (ip|\d{1,3}) from \S.* to \S.*$")]


class Arp(Section):
    """Allocation and retention priority (TS 29.212 clause 5.3.32)."""

    priority_level: int = Field(default=8, ge=1, le=15)
    pre_emption_capability: bool = Field(default=False, description="may take resources from bearers of lower priority")
    pre_emption_vulnerability: bool = Field(default=True, description="may lose resources to bearers of higher priority")


class DefaultBearer(Section):
    qci: Qci = 9
    arp: Arp = Arp()

    @model_validator(mode="after")
    def _non_gbr(self) -> DefaultBearer:
        if self.qci in GBR_QCIS:
            raise ValueError(f"QCI {self.qci} guarantees a bit rate; the default bearer cannot (TS 23.401 clause 4.7.2.1)")
        return self


class Flow(Section):
    """One filter of a service data flow, written as the downlink packet looks: ``permit out 17 from 10.9.0.0/16 5060 to assigned``."""

    description: FlowDescription
    direction: Literal["downlink", "uplink", "both"] = "both"
    tell_ue: bool = Field(default=True, description="the UE gets this filter in its TFT")


class Rule(Section):
    """A PCC rule (TS 23.203 clause 6.3). With another QCI or ARP than the default bearer's the PGW sets up a dedicated bearer for it."""

    precedence: int = Field(default=100, ge=0, le=0xFFFF, description="the lower, the earlier it is tried")
    flows: tuple[Flow, ...] = (Flow(description="permit out ip from any to assigned"),)
    status: Literal["enabled", "enabled-uplink", "enabled-downlink", "disabled"] = "enabled"
    qci: Qci | None = Field(default=None, description="default: the default bearer's")
    arp: Arp | None = None
    max_ul: BitRate | None = None
    max_dl: BitRate | None = None
    guaranteed_ul: BitRate | None = None
    guaranteed_dl: BitRate | None = None
    rating_group: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    service_identifier: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    online: bool | None = None
    offline: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        gbr = self.qci in GBR_QCIS
        if gbr and (self.guaranteed_ul is None or self.guaranteed_dl is None):
            raise ValueError(f"QCI {self.qci} needs guaranteed_ul and guaranteed_dl")
        if not gbr and (self.guaranteed_ul is not None or self.guaranteed_dl is not None):
            raise ValueError("a guaranteed bit rate needs a GBR QCI (1 to 4, ...)")
        if self.qci is None and (self.arp or self.max_ul is not None or self.max_dl is not None):
            raise ValueError("arp and bit rates need a qci")
        return self


class Policy(Section):
    """Whom it concerns, and what they get. What is left out stays as subscribed (the PGW's request says it)."""

    name: str = Field(default="", description="for logs; default: its place in the list")
    imsi: ImsiPattern = Field(default="*", description="an IMSI, or its beginning and *")
    apn: str = Field(default="*", description="an APN, or *")
    rat: tuple[str, ...] = Field(default=(), description="RAT types such as EUTRAN; default: any")
    reject: bool = Field(default=False, description="refuse with DIAMETER_AUTHORIZATION_REJECTED")
    default_bearer: DefaultBearer | None = None
    ambr_ul: BitRate | None = None
    ambr_dl: BitRate | None = None
    rules: tuple[RuleName, ...] = Field(default=(), description="names under rules; without any rule all traffic passes")
    predefined_rules: tuple[RuleName, ...] = Field(default=(), description="names of rules that the PGW knows by itself")
    event_triggers: tuple[str, ...] = Field(default=(), description="what the PGW reports, such as RAT_CHANGE")
    online: bool | None = None
    offline: bool | None = None

    @model_validator(mode="after")
    def _known_names(self) -> Policy:
        for given, names, what in ((self.rat, RatType.__members__, "RAT type"), (self.event_triggers, EventTrigger.__members__, "event trigger")):
            for name in given:
                if name not in names:
                    raise ValueError(f"no {what} is called {name}; there are {', '.join(names)}")
        return self


class PolicyBook(Section):
    """Rules by name, and the policies that use them. The first policy that fits a session holds."""

    rules: dict[RuleName, Rule] = {}
    policies: tuple[Policy, ...] = ()
    others: Literal["allow", "reject"] = Field(
        default="allow", description="users that no policy fits: allow as subscribed, or reject with DIAMETER_USER_UNKNOWN")

    @model_validator(mode="after")
    def _known_rules(self) -> PolicyBook:
        for number, policy in enumerate(self.policies, 1):
            for name in policy.rules:
                if name not in self.rules:
                    raise ValueError(f"policy {policy.name or number} uses rule {name}, which is not under rules")
        return self


class PcrfConfig(NodeConfig):
    origin_host: str = Field(min_length=1, description="Diameter identity, e.g. pcrf.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: str = Field(min_length=1, description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    gx: DiameterServer = DiameterServer()
    policy: PolicyBook = PolicyBook()
    policy_file: Path | None = Field(default=None, description="a YAML file with the keys of policy, read at start and by ctl reload_policy")

    @model_validator(mode="after")
    def _one_source(self) -> PcrfConfig:
        if self.policy_file is not None and self.policy != PolicyBook():
            raise ValueError("policy and policy_file exclude each other")
        return self
