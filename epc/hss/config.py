"""The HSS's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from epc.hss.provisioning import TEST_K, TEST_OPC, parse_subscriber
from epc.hss.store import Subscriber
from epc.node import NodeConfig, Section
from epc.node.config import Digits, ImsiDigits, PlmnDigits
from epc.node.database import check_database_url
from epc.node.diameter import DiameterServer


class AuthenticationConfig(Section):
    max_vectors: int = Field(default=5, ge=1, le=32, description="how many vectors one answer may hold, whatever the MME asks for")
    check_serving_network: bool = Field(
        default=False, description="give vectors for a network only to nodes of that network's realm (TS 29.272 clause 5.2.3.1.3)")


class RoamingSection(Section):
    """Where subscribers of this network may roam at all; what each subscription says comes on top."""

    partners: tuple[PlmnDigits, ...] | None = Field(
        default=None, description="visited networks with which there is an agreement; [] is none; default: every network")
    home_plmns: tuple[PlmnDigits, ...] = Field(default=(), description="networks that are no roaming; default: the one that the IMSI names")


class ProvisionedSubscriber(Section):
    """A subscriber, or ``count`` of them with consecutive IMSIs, that the database gets at start if it has none of that IMSI.

    Fields are written as in ``epclab subscriber``'s CSV; without k, opc and op it has the test SIM.
    """

    imsi: ImsiDigits
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
    barring: str = ""
    roaming_allowed: bool = True
    allowed_plmns: Digits = ""
    blocked_plmns: Digits = ""
    zone_codes: Digits = ""
    apn_oi_replacement: str = ""
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
    s6a: DiameterServer = DiameterServer()
    database: Annotated[str, AfterValidator(check_database_url)] | None = Field(
        default=None, description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; default: subscribers.sqlite in state_directory, "
                                  "or in memory where there is none")
    subscribers: tuple[ProvisionedSubscriber, ...] = ()
    roaming: RoamingSection = RoamingSection()
    authentication: AuthenticationConfig = AuthenticationConfig()

    @property
    def database_url(self) -> str:
        if self.database is not None:
            return self.database
        return f"sqlite:///{Path(self.state_directory) / 'subscribers.sqlite'}" if self.state_directory else "sqlite://"
