"""The PGW's configuration file."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from epc.charging import OfflineCharging
from epc.dataplane.hosts import HostKind
from epc.dataplane.rules import Application, SdfFilter
from epc.node import NodeConfig, Section
from epc.node.config import BitRate, Host, Seconds
from epc.node.diameter import DiameterPatience, DiameterPeer
from epc.node.gtpc import GtpcInterface, GtpcSettings, GtpuInterface
from epc.node.pfcp import ControlFunction, UserPlaneKind
from epc.node.sgi import ServicesConfig
from epc.node.user_plane import UserPlaneSettings
from epc.peer.timer import Timer
from epc.pgw.charging_filters import read_filter_rule
from epc.wire.diameter.charging import TriggerType

PUBLIC_NAME_SERVERS = (IPv4Address("8.8.8.8"), IPv4Address("8.8.4.4"))


def _flow_description(text: str) -> str:
    SdfFilter.from_flow_description(text)
    return text


FlowDescription = Annotated[str, AfterValidator(_flow_description)]


class ApnConfig(Section):
    """One data network: the addresses that phones get in it, and what they are told about it."""

    ipv4_pool: IPv4Network = Field(description="phones get addresses from here, all but the first, the last and the reserved ones")
    reserved: tuple[IPv4Address, ...] = Field(default=(), description="addresses of the pool that no phone gets, such as a gateway's")
    dns: Annotated[tuple[IPv4Address, ...], Field(max_length=2)] | None = Field(
        default=None, description="name servers that phones are told; default: the server if it serves names, else 8.8.8.8 and 8.8.4.4")
    mtu_octets: Annotated[int, Field(ge=576, le=65535)] = 1400
    server: IPv4Interface | None = Field(
        default=None, description="a server on SGi that answers ping and echoes UDP datagrams at port 7; must be outside the pool")
    services: ServicesConfig | None = Field(default=None, description="what that server offers besides: names, web sites")

    @field_validator("ipv4_pool")
    @classmethod
    def _has_room(cls, pool: IPv4Network) -> IPv4Network:
        if pool.num_addresses < 4:
            raise ValueError("a pool needs a prefix of 30 bits or fewer")
        return pool

    @model_validator(mode="after")
    def _check(self) -> ApnConfig:
        if self.server is not None and self.server.ip in self.ipv4_pool:
            raise ValueError(f"server: {self.server.ip} is an address of the pool")
        if self.services is not None and self.server is None:
            raise ValueError("services: need a server that offers them (server: ADDRESS/PREFIX)")
        for address in self.reserved:
            if address not in self.ipv4_pool:
                raise ValueError(f"reserved: {address} is not in the pool")
        return self

    @property
    def name_servers(self) -> tuple[IPv4Address, ...]:
        """What phones are told (TS 24.008 clause 10.5.6.3)."""
        if self.dns is not None:
            return self.dns
        if self.server is not None and self.services is not None and self.services.dns is not None:
            return (self.server.ip,)
        return PUBLIC_NAME_SERVERS


class GxConfig(DiameterPatience):
    """The policy interface (TS 29.212). Without this section the PGW grants what the HSS subscribed."""

    peers: Annotated[tuple[DiameterPeer, ...], Field(min_length=1)]
    host: Host | None = Field(default=None, description="local address of the connections; default: the system's choice")
    origin_host: str | None = Field(default=None, description="default: the node's name in the origin realm")
    origin_realm: str
    destination_realm: str | None = Field(default=None, description="default: the origin realm")
    tx_s: Seconds = Field(default=3.0, description="how long an answer is awaited")
    on_failure: Literal["terminate", "continue"] = Field(
        default="terminate", description="no PCRF, or a silent one: refuse the session, or grant what the HSS subscribed")

    @property
    def tx(self) -> Timer:
        return Timer("Tx", self.tx_s)


class ArpConfig(Section):
    """Allocation and retention priority (TS 29.212 clause 5.3.32)."""

    priority_level: Annotated[int, Field(ge=1, le=15)] = 8
    pre_emption_capability: bool = Field(default=False, description="may take resources from bearers of lower priority")
    pre_emption_vulnerability: bool = Field(default=True, description="may lose resources to bearers of higher priority")


class FlowConfig(Section):
    """One filter of a service data flow, written as the downlink packet looks: ``permit out 17 from 10.9.0.0/16 5060 to assigned``."""

    description: FlowDescription
    direction: Literal["downlink", "uplink", "both"] = "both"


class PredefinedRule(Section):
    """A PCC rule that the PCRF calls up by its name (TS 23.203 clause 6.3); its fields are those of a rule in a PCRF's configuration."""

    precedence: Annotated[int, Field(ge=0, le=0xFFFFFFFF, description="the lower, the earlier it is tried")] = 100
    flows: tuple[FlowConfig, ...] = ()
    application: str | None = Field(default=None, description="one of applications, instead of flows or besides them")
    status: Literal["enabled", "enabled-uplink", "enabled-downlink", "disabled"] = "enabled"
    qci: Annotated[int, Field(ge=1, le=254)] | None = Field(default=None, description="default: the default bearer's")
    arp: ArpConfig | None = None
    max_ul: BitRate | None = None
    max_dl: BitRate | None = None
    guaranteed_ul: BitRate | None = None
    guaranteed_dl: BitRate | None = None
    rating_group: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] | None = None
    service_identifier: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] | None = None
    monitoring_key: str | None = Field(default=None, description="its usage counts under this key")
    online: bool | None = None
    offline: bool | None = None

    @model_validator(mode="after")
    def _matches_something(self) -> PredefinedRule:
        if not self.flows and self.application is None:
            raise ValueError("a rule needs flows or an application")
        return self


class ApplicationConfig(Section):
    """How an application's flows are recognised (TS 23.203 clause 6.2.2.5): by the names that they ask for, or by where they go."""

    domain_names: tuple[str, ...] = Field(default=(), description="of TLS, HTTP and DNS; each stands for all names that end with it too")
    flows: tuple[FlowDescription, ...] = Field(default=(), description="as in a rule: permit out 6 from 192.0.2.0/24 443 to assigned")

    @model_validator(mode="after")
    def _is_recognisable(self) -> ApplicationConfig:
        if not self.domain_names and not self.flows:
            raise ValueError("an application needs domain_names or flows")
        return self

    def application(self, name: str) -> Application:
        return Application(
            id=name, domain_names=tuple([domain.lower().strip(".") for domain in self.domain_names]),
            flows=tuple([SdfFilter.from_flow_description(flow) for flow in self.flows]))


FilterRule = Annotated[str, StringConstraints(pattern=r"^(permit|deny) (in|out) (ip|\d{1,3}) from \S.* to \S.*$")]


class GyConfig(DiameterPatience):
    """The online charging interface (TS 32.251, TS 32.299). Without this section nothing is charged online."""

    peers: Annotated[tuple[DiameterPeer, ...], Field(min_length=1, description="OCSs in the order in which they are asked")]
    host: Host | None = Field(default=None, description="local address of the connections; default: the system's choice")
    origin_host: str | None = Field(default=None, description="default: the node's name in the origin realm")
    origin_realm: str
    destination_realm: str | None = Field(default=None, description="default: the origin realm")
    tx_s: Seconds = Field(default=2.0, description="how long an answer is awaited; an attach waits for two, and an SGW for six seconds in all")
    online: bool = Field(default=True, description="whether traffic is charged online of which neither its rule nor the PCRF says it")
    rating_group: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = Field(default=1, description="of rules without one, and of what no rule takes")
    request_quota: Literal["at_activation", "first_packet"] = Field(
        default="at_activation", description="when the first quota is asked for: with the rule, or when its first packet is there")
    requested_octets: Annotated[int, Field(ge=1)] | None = Field(
        default=1_000_000_000, description="what is asked for at a time; the OCS grants less as it likes. null: an empty Requested-Service-Unit")
    failure_handling: Literal["terminate", "continue", "retry_and_terminate"] = Field(
        default="terminate", description="what becomes of users while no OCS answers (Credit-Control-Failure-Handling), until one says otherwise")
    session_failover: bool = Field(
        default=False, description="whether sessions go on at the next of the peers (CC-Session-Failover), until an OCS says otherwise")
    retry_s: Seconds = Field(default=10.0, description="failure_handling continue: how often the OCS is asked again meanwhile")
    on_credit_end: Literal["block", "end_session"] = Field(
        default="block", description="after the last units (Final-Unit-Action TERMINATE): the rating group is blocked, or the PDN connection ended "
                                     "when all its rating groups are")
    ask_again_s: Seconds | None = Field(
        default=None, description="after so long the OCS is asked again for what it refused with 4010 or 4012; default: it says it by itself (RAR)")
    filters: dict[str, tuple[FilterRule, ...]] = Field(default={}, description="what an OCS calls by Filter-Id: IPFilterRules of what stays allowed")
    redirect_allows: tuple[FilterRule, ...] = Field(
        default=(), description="what passes while HTTP is redirected, besides the server's address and DNS")
    triggers: tuple[str, ...] = Field(
        default=(), description="Trigger-Types that are reported at once until the OCS names its own, such as CHANGEINLOCATION_MCC")

    @model_validator(mode="after")
    def _check(self) -> GyConfig:
        for trigger in self.triggers:
            if trigger not in TriggerType.__members__:
                raise ValueError(f"no trigger type is called {trigger}; there are {', '.join(TriggerType.__members__)}")
        for text in (*self.redirect_allows, *[text for texts in self.filters.values() for text in texts]):
            read_filter_rule(text)
        return self

    @property
    def tx(self) -> Timer:
        return Timer("Tx", self.tx_s)


class PgwConfig(NodeConfig):
    """With ``sx: pfcp`` a PGW-U forwards the packets, at the address ``s5u`` (which is its own then), and ``sxb`` tells where it is."""

    s5c: GtpcInterface
    s5u: GtpuInterface
    apns: Annotated[dict[str, ApnConfig], Field(min_length=1)]
    sx: UserPlaneKind = Field(default="in_process", description="who forwards packets: this process, or a PGW-U")
    sxb: ControlFunction | None = Field(default=None, description="needed with sx: pfcp")
    user_plane: UserPlaneSettings = Field(default=UserPlaneSettings(), description="with sx: in_process, by what packets are forwarded")
    gx: GxConfig | None = None
    predefined_rules: dict[str, PredefinedRule] = Field(default_factory=dict, description="by Charging-Rule-Name")
    rule_bases: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="names of predefined rules that come together, by Charging-Rule-Base-Name")
    applications: dict[str, ApplicationConfig] = Field(default_factory=dict, description="by TDF-Application-Identifier")
    gy: GyConfig | None = None
    offline_charging: OfflineCharging | None = Field(default=None, description="write charging data records; default: none")
    gtp: GtpcSettings = GtpcSettings()
    sgi_hosts: HostKind = Field(default=HostKind.AUTO, description="where the servers on SGi live: auto, namespace or in_process")

    @model_validator(mode="after")
    def _check(self) -> PgwConfig:
        pools = [(name, apn.ipv4_pool) for name, apn in self.apns.items()]
        for index, (name, pool) in enumerate(pools):
            for other, other_pool in pools[:index]:
                if pool.overlaps(other_pool):
                    raise ValueError(f"apns.{name}.ipv4_pool: overlaps that of {other}")
        for name, rule in self.predefined_rules.items():
            if rule.application is not None and rule.application not in self.applications:
                raise ValueError(f"predefined_rules.{name}.application: {rule.application} is not among applications")
        for name, rules in self.rule_bases.items():
            for each in rules:
                if each not in self.predefined_rules:
                    raise ValueError(f"rule_bases.{name}: {each} is not among predefined_rules")
        if self.sx == "pfcp":
            if self.sxb is None:
                raise ValueError("sxb: is missing, and sx is pfcp")
            if any(apn.server is not None or apn.services is not None for apn in self.apns.values()):
                raise ValueError("apns: with sx: pfcp servers stand behind the PGW-U")
        return self

    def apn(self, name: str) -> tuple[str, ApnConfig] | None:
        """The APN's configured name and settings; the operator identifier that a MME may append does not matter (TS 23.003 clause 9.1)."""
        network_identifier = name.lower().split(".mnc", 1)[0]
        for configured, apn in self.apns.items():
            if configured.lower() == network_identifier:
                return configured, apn
        return None
