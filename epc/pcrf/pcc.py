"""What an operator writes: PCC rules, and the policies that give them to users (TS 23.203 clauses 6.3 and 6.2.1)."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from epc.node import Section
from epc.node.config import BitRate, Digits, Hours, Octets, PlmnDigits
from epc.pcrf.calendar import Days, Period
from epc.wire.diameter import RatType
from epc.wire.diameter.gx import EventTrigger

GBR_QCIS = frozenset({1, 2, 3, 4, 65, 66, 67, 71, 72, 73, 74, 75, 76})     # TS 23.203 table 6.1.7

Qci = Annotated[int, Field(ge=1, le=254)]
Number32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
ImsiPattern = Annotated[Digits, StringConstraints(pattern=r"^\d{1,15}$|^\d{0,14}\*$")]
RuleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
# TS 29.214 clause 5.3.8 as used by TS 29.212 clause 5.4.2: permit, direction out, as the downlink packet looks
FlowDescription = Annotated[str, StringConstraints(pattern=r"^permit out (ip|\d{1,3}) from \S.* to \S.*$")]
HexOctets = Annotated[Digits, StringConstraints(pattern=r"^([0-9a-fA-F]{2})+$")]


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
    tos: HexOctets | None = Field(default=None, min_length=4, max_length=4, description="type of service or traffic class, and its mask: b8fc")


class UsageLimit(Section):
    """How much may be used, counted for each subscriber by the PCEF and kept by the PCRF (TS 29.212 clause 4.5.17)."""

    octets: Octets
    key: str = Field(default="", max_length=100, description="Monitoring-Key: what is counted together; default: the name of the rule or policy")
    per: Period = Field(default="day", description="when counting starts anew, in the PCRF's time zone")
    report: Octets | None = Field(default=None, description="usage is reported when so much was used, not only when all of it was")
    then: str = Field(default="", max_length=100, description="the policy (for a policy's limit) or rule (for a rule's) that holds when all is used; "
                                                               "default: gates are closed")


class Conditions(Section):
    """When a rule or a policy counts; what is left out fits always."""

    hours: Hours | None = Field(default=None, description="22:00-06:00; over midnight they belong to the day they begin in")
    days: Days = Field(default=(), description="mon-fri, or a list of days")
    where: Literal["home", "roaming"] | None = Field(default=None, description="in the IMSI's own network (or one of home_plmns), or not")
    plmns: tuple[PlmnDigits, ...] = Field(default=(), description="only in these serving networks")
    detected: tuple[str, ...] = Field(default=(), description="only while the PCEF sees traffic of one of these applications")

    @property
    def is_conditional(self) -> bool:
        return bool(self.hours or self.days or self.where or self.plmns or self.detected)


class Rule(Conditions):
    """A PCC rule (TS 23.203 clause 6.3). With another QCI or ARP than the default bearer's the PGW sets up a dedicated bearer for it."""

    precedence: int = Field(default=100, ge=0, le=0xFFFF, description="the lower, the earlier it is tried")
    active_from: datetime.datetime | None = Field(default=None, description="2026-12-24T18:00, in the PCRF's time zone where it names none: the PGW "
                                                                            "begins by itself (Rule-Activation-Time)")
    active_until: datetime.datetime | None = Field(default=None, description="and ends by itself (Rule-Deactivation-Time)")
    flows: tuple[Flow, ...] = Field(default=(), description="service data flow filters; without any, and without application: all traffic")
    application: str | None = Field(default=None, min_length=1, max_length=100, description="an application that the PGW knows by this name, "
                                                                                            "instead of flows (TDF-Application-Identifier)")
    report_application: bool = Field(default=False, description="the PGW tells when traffic of the application begins and ends")
    redirect_to: str | None = Field(default=None, max_length=1000, description="URL that the application's HTTP traffic is redirected to")
    status: Literal["enabled", "enabled-uplink", "enabled-downlink", "disabled"] = "enabled"
    qci: Qci | None = Field(default=None, description="default: the default bearer's")
    arp: Arp | None = None
    max_ul: BitRate | None = None
    max_dl: BitRate | None = None
    guaranteed_ul: BitRate | None = None
    guaranteed_dl: BitRate | None = None
    rating_group: Number32 | None = None
    service_identifier: Number32 | None = None
    reporting_level: Literal["service-identifier", "rating-group", "sponsored"] | None = Field(
        default=None, description="what the PCEF reports usage for; default: the rating group")
    metering: Literal["duration", "volume", "both"] | None = Field(default=None, description="what offline charging measures")
    online: bool | None = None
    offline: bool | None = None
    sponsor: str | None = Field(default=None, max_length=100, description="Sponsor-Identity: who pays")
    service_provider: str | None = Field(default=None, max_length=100, description="Application-Service-Provider-Identity")
    usage_limit: UsageLimit | None = None
    notify: bool = Field(default=False, description="the PGW tells when the rule's bearer stands (Resource-Allocation-Notification)")

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if self.active_from is not None and self.active_until is not None and self.active_from.replace(tzinfo=None) >= \
                self.active_until.replace(tzinfo=None):
            raise ValueError("active_until is before active_from")
        gbr = self.qci in GBR_QCIS
        if gbr and (self.guaranteed_ul is None or self.guaranteed_dl is None):
            raise ValueError(f"QCI {self.qci} needs guaranteed_ul and guaranteed_dl")
        if not gbr and (self.guaranteed_ul is not None or self.guaranteed_dl is not None):
            raise ValueError("a guaranteed bit rate needs a GBR QCI (1 to 4, ...)")
        if self.qci is None and (self.arp or self.max_ul is not None or self.max_dl is not None):
            raise ValueError("arp and bit rates need a qci")
        for maximum, guaranteed in ((self.max_ul, self.guaranteed_ul), (self.max_dl, self.guaranteed_dl)):
            if maximum is not None and guaranteed is not None and guaranteed > maximum:
                raise ValueError("more is guaranteed than the maximum")
        if self.application is not None and self.flows:
            raise ValueError("application and flows exclude each other (TS 29.212 clause 4.5.2.0)")
        if self.application is None and (self.report_application or self.redirect_to):
            raise ValueError("report_application and redirect_to need an application")
        if self.reporting_level == "sponsored" and (self.sponsor is None or self.service_provider is None):
            raise ValueError("reporting_level sponsored needs sponsor and service_provider")
        return self


class UeRequests(Section):
    """What UEs may ask resources for by themselves (Bearer Resource Command, TS 23.401 clause 5.4.5)."""

    qcis: tuple[Qci, ...] = Field(default=(5, 6, 7, 8, 9), min_length=1, description="classes to choose from; the first is for those who do not")
    max_ul: BitRate | None = Field(default=None, description="for each request")
    max_dl: BitRate | None = None
    arp: Arp = Arp()
    precedence: int = Field(default=500, ge=0, le=0xFF00, description="added to the precedence of the UE's filters")


class Policy(Conditions):
    """Whom it concerns, and what they get. What is left out stays as subscribed (the PGW's request says it)."""

    name: str = Field(default="", max_length=100, description="default: its place in the list")
    priority: int = Field(default=100, ge=0, le=0xFFFF, description="the lower, the earlier it is tried; equal ones in the order they are listed in")
    imsi: ImsiPattern = Field(default="*", description="an IMSI, or its beginning and *")
    apn: str = Field(default="*", description="an APN, or *")
    rat: tuple[str, ...] = Field(default=(), description="RAT types such as EUTRAN; default: any")
    by_name_only: bool = Field(default=False, description="fits nobody; holds where another policy's usage_limit names it")
    reject: bool = Field(default=False, description="refuse with DIAMETER_AUTHORIZATION_REJECTED")
    default_bearer: DefaultBearer | None = None
    ambr_ul: BitRate | None = None
    ambr_dl: BitRate | None = None
    rules: tuple[RuleName, ...] = Field(default=(), description="names under rules; without any rule all traffic passes")
    predefined_rules: tuple[RuleName, ...] = Field(default=(), description="names of rules that the PGW knows by itself")
    predefined_groups: tuple[RuleName, ...] = Field(default=(), description="names of groups of such rules (Charging-Rule-Base-Name)")
    event_triggers: tuple[str, ...] = Field(default=(), description="what the PGW reports, such as RAT_CHANGE, besides what the policies need")
    usage_limit: UsageLimit | None = Field(default=None, description="for all traffic of the session together")
    ue_requests: UeRequests | None = Field(default=None, description="default: what UEs ask for by themselves is refused")
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
    def _known(self) -> PolicyBook:
        for name, rule in self.rules.items():
            if rule.usage_limit is not None and rule.usage_limit.then:
                successor = self.rules.get(rule.usage_limit.then)
                if successor is None:
                    raise ValueError(f"rule {name} gives way to rule {rule.usage_limit.then}, which is not under rules")
        names: set[str] = set()
        for number, policy in enumerate(self.policies, 1):
            name = policy_name(policy, number)
            if name in names:
                raise ValueError(f"there are two policies {name}")
            names.add(name)
            for rule_name in policy.rules:
                if rule_name not in self.rules:
                    raise ValueError(f"policy {policy.name or number} uses rule {rule_name}, which is not under rules")
        for number, policy in enumerate(self.policies, 1):
            if policy.usage_limit is not None and policy.usage_limit.then and policy.usage_limit.then not in names:
                raise ValueError(f"policy {policy.name or number} gives way to policy {policy.usage_limit.then}, which there is not")
        return self

    def named(self) -> dict[str, Policy]:
        """The policies by name, in the order they are tried in."""
        named = [(policy_name(policy, number), policy) for number, policy in enumerate(self.policies, 1)]
        return dict(sorted(named, key=lambda each: each[1].priority))


def policy_name(policy: Policy, number: int) -> str:
    """``number`` is its place in the list, from 1."""
    return policy.name or f"policy {number}"
