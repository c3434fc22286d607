"""The HSS's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from epc.hss.provisioning import TEST_K, TEST_OPC, parse_subscriber
from epc.hss.store import Subscriber
from epc.node import NodeConfig, Section
from epc.node.config import Host, ImsiDigits, Port
from epc.peer.diameter import LAB_TIMERS, PeerTimers
from epc.transport.diameter import ListenConfig, PeerConfig
from epc.transport.interface import Address, Carrier

DIAMETER_PORT = 3868


class DiameterListen(Section):
    """Where MMEs and agents connect to."""

    host: Host
    port: Port = DIAMETER_PORT
    carrier: Literal["tcp", "sctp"] = "tcp"

    @property
    def listen(self) -> ListenConfig:
        return ListenConfig(address=Address(self.host, self.port), carrier=Carrier(self.carrier))


class DiameterPeer(Section):
    """An MME or agent that this HSS connects to by itself."""

    host: Host
    port: Port = DIAMETER_PORT
    carrier: Literal["tcp", "sctp"] = "tcp"
    identity: str = Field(default="", description="the Origin-Host it must have; empty: any")
    default_route: bool = Field(default=False, description="an agent that takes what is for nobody else")

    @property
    def peer(self) -> PeerConfig:
        return PeerConfig(
            address=Address(self.host, self.port), host=self.identity, carrier=Carrier(self.carrier), is_default_route=self.default_route)


class S6aConfig(Section):
    listen: tuple[DiameterListen, ...] = (DiameterListen(host="127.0.0.1"),)
    peers: tuple[DiameterPeer, ...] = ()
    accept_unknown_peers: bool = Field(default=True, description="serve whoever connects, not only those under peers")
    timers: Literal["lab", "3gpp"] = Field(default="lab", description="3gpp: the RFCs' watchdog and reconnection times, half a minute each")

    @property
    def peer_timers(self) -> PeerTimers:
        return LAB_TIMERS if self.timers == "lab" else PeerTimers()


class AuthenticationConfig(Section):
    max_vectors: int = Field(default=5, ge=1, le=32, description="how many vectors one answer may hold, whatever the MME asks for")
    check_serving_network: bool = Field(
        default=False, description="give vectors for a network only to nodes of that network's realm (TS 29.272 clause 5.2.3.1.3)")


def _quoted(value: object) -> object:
    """YAML reads 001010000000001 as an octal number."""
    if isinstance(value, int):
        raise ValueError("must be in quotes: these are digits, not a number")
    return value


Digits = Annotated[str, BeforeValidator(_quoted)]


class ProvisionedSubscriber(Section):
    """A subscriber, or ``count`` of them with consecutive IMSIs, that the database gets at start if it has none of that IMSI.

    Fields are written as in ``epclab subscriber``'s CSV; without k, opc and op it has the test SIM.
    """

    imsi: Annotated[ImsiDigits, BeforeValidator(_quoted)]
    count: int = Field(default=1, ge=1, le=1_000_000, description="this many subscribers, IMSI and MSISDN counting up")
    msisdn: Digits = ""
    algorithm: str = "milenage"
    k: Digits = ""
    opc: Digits = ""
    op: Digits = ""
    amf: Digits = "8000"
    sqn: Digits = ""
    status: str = "granted"
    access_restriction: Digits = ""
    roaming_allowed: bool = True
    rau_tau_timer_s: int = 3240
    ambr_ul: str = "500M"
    ambr_dl: str = "1G"
    apns: tuple[str, ...] = ("internet",)

    @model_validator(mode="after")
    def _check(self) -> ProvisionedSubscriber:
        self.parsed()
        return self

    def parsed(self) -> tuple[Subscriber, int]:
        """The first subscriber and how many there are."""
        text = {name: str(value) for name, value in self if name not in ("count", "apns")}
        text |= {"imsi": f"{self.imsi}+{self.count}", "apns": ";".join(self.apns)}
        if not (self.k or self.opc or self.op):
            text |= {"k": TEST_K, "opc": TEST_OPC}
        return parse_subscriber(text)


class HssConfig(NodeConfig):
    origin_host: str = Field(min_length=1, description="Diameter identity, e.g. hss.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: str = Field(min_length=1, description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    s6a: S6aConfig = S6aConfig()
    database: str | None = Field(
        default=None, description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; default: subscribers.sqlite in state_directory, "
                                  "or in memory where there is none")
    subscribers: tuple[ProvisionedSubscriber, ...] = ()
    authentication: AuthenticationConfig = AuthenticationConfig()

    @property
    def database_url(self) -> str:
        if self.database is not None:
            return self.database
        return f"sqlite:///{Path(self.state_directory) / 'subscribers.sqlite'}" if self.state_directory else "sqlite://"
