"""The agent's configuration file: its connections, the routing table, and what it hides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from epc.node.config import NodeConfig, Seconds, Section
from epc.node.diameter import DiameterServer
from epc.wire.diameter import GX_APPLICATION, GY_APPLICATION, RX_APPLICATION, S6A_APPLICATION

ANY_REALM = "*"
APPLICATIONS = {
    "S6a": S6A_APPLICATION, "Gx": GX_APPLICATION, "Gy": GY_APPLICATION, "Rx": RX_APPLICATION,
    "S13": 16777252,        # TS 29.272 clause 7.1.8
    "S9": 16777267,         # TS 29.215
    "S6b": 16777272,        # TS 29.273
    "SWx": 16777265,        # TS 29.273
    "Cx": 16777216,         # TS 29.229 clause 6
    "Sh": 16777217,         # TS 29.329 clause 6
}


def _application(value: object) -> object:
    if isinstance(value, str):
        try:
            return APPLICATIONS[value]
        except KeyError:
            raise ValueError(f"an application is a number or one of {', '.join(APPLICATIONS)}, not {value!r}") from None
    return value


_Number = Annotated[int, Field(ge=1, lt=0xFFFFFFFF)]
Application = Annotated[_Number, BeforeValidator(_application, json_schema_input_type=Literal[*APPLICATIONS] | _Number)]
Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,255}$", to_lower=True)]
Realm = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9._-]{1,255})$", to_lower=True)]


class RoutePeer(Section):
    """A next hop."""

    identity: Identity = Field(description="its Origin-Host; it is connected, or connects")
    weight: int = Field(default=1, ge=1, le=1000, description="its share among those of its priority")
    priority: int = Field(default=1, ge=1, le=1000, description="higher numbers only get what no lower one can take")


class RealmRoute(Section):
    """Who takes requests for a realm. One with an application goes before one without."""

    realm: Realm = Field(description="Destination-Realm, or * for those that have no route")
    application: Application | None = Field(default=None, description="a name such as S6a, or a number; default: all")
    peers: tuple[RoutePeer, ...] = Field(min_length=1)


class TopologyHidingSection(Section):
    """Peers of other realms see pseudonyms in place of the names of our hosts."""

    home_realms: tuple[Identity, ...] = Field(default=(), description="realms whose hosts are hidden, from all others; default: origin_realm")
    secret: str = Field(default="", description="what automatic pseudonyms are made with; all agents of an operator must have the same")
    pseudonyms: dict[Identity, Identity] = Field(default={}, description="host: pseudonym, instead of an automatic one")

    @model_validator(mode="after")
    def _one_to_one(self) -> TopologyHidingSection:
        if len(set(self.pseudonyms.values())) != len(self.pseudonyms):
            raise ValueError("two hosts have the same pseudonym")
        return self


class DraConfig(NodeConfig):
    origin_host: Identity = Field(description="Diameter identity, e.g. dra.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: Identity = Field(description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    diameter: DiameterServer = DiameterServer()
    applications: tuple[Application, ...] = Field(
        default=(), description="a proxy for these only, by name or number; default: a relay, which takes all (RFC 6733 clause 2.4)")
    routes: tuple[RealmRoute, ...] = Field(
        default=(), description="default: a request goes to connected peers of its Destination-Realm, else to peers with default_route")
    topology_hiding: TopologyHidingSection | None = None
    stateless: bool = Field(
        default=False, description="keep nothing of a request but what Proxy-Info brings back: no failover, no error when no answer comes")
    answer_s: Seconds = Field(default=4.0, description="how long an answer is awaited before the request is refused with 3002")
    pending_limit: int = Field(default=50_000, ge=1, description="requests in flight; beyond these, 3004")

    @model_validator(mode="after")
    def _routes_differ(self) -> DraConfig:
        seen: set[tuple[str, int | None]] = set()
        for route in self.routes:
            key = (route.realm, route.application)
            if key in seen:
                raise ValueError(f"two routes for realm {route.realm}, application {route.application or 'any'}; put the peers into one")
            seen.add(key)
        return self
