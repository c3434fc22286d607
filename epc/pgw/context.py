"""What the PGW knows of a PDN connection (TS 23.401 table 5.7.4-1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from epc.dataplane.rules import FTeid
from epc.pgw.address_pool import AddressPool
from epc.pgw.policy import Policy
from epc.transport.interface import Address
from epc.wire.diameter.policy import ChargingRuleDefinition
from epc.wire.gtpv2 import ChangeNotificationRequest, CreateSessionRequest, ModifyBearerRequest, RatType, UeTimeZone, Uli
from epc.wire.identity import Plmn


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where the UE is and over what it comes, as the MME reported it last: what policy and charging depend on."""

    serving_network: Plmn | None = None
    rat_type: RatType | int | None = None
    uli: Uli | None = None
    ue_time_zone: UeTimeZone | None = None

    def updated(self, message: CreateSessionRequest | ModifyBearerRequest | ChangeNotificationRequest) -> Whereabouts:
        """What a message says anew; what it leaves out has not changed."""
        serving_network = getattr(message, "serving_network", None)
        ue_time_zone = getattr(message, "ue_time_zone", None)
        return Whereabouts(
            serving_network=self.serving_network if serving_network is None else serving_network,
            rat_type=self.rat_type if message.rat_type is None else message.rat_type,
            uli=self.uli if message.uli is None else message.uli,
            ue_time_zone=self.ue_time_zone if ue_time_zone is None else ue_time_zone,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class PolicySession:
    """The IP-CAN session with the PCRF (TS 29.212 clause 4.5.1)."""

    session_id: str                     # allocated by the PGW
    next_request_number: int = 0        # CC-Request-Number
    is_open: bool = False               # the PCRF has it, or may have it
    pcrf: str | None = None             # its Origin-Host, once it has answered


@dataclass(slots=True, kw_only=True, eq=False)
class PdnSession:
    imsi: str
    msisdn: str | None
    mei: str | None = None
    ebi: int                            # of the default bearer
    apn: str
    pool: AddressPool
    ue_address: IPv4Address
    policy: Policy
    sgw: Address
    s5c_sgw_teid: int                   # t2, learned from the SGW's Create Session Request
    s5u_sgw: FTeid                      # t3, learned likewise
    s5c_pgw_teid: int = 0               # t4, allocated by the PGW
    s5u_pgw: FTeid                      # t5, allocated by the PGW
    charging_id: int
    whereabouts: Whereabouts = Whereabouts()
    selection_mode: int | None = None               # how the MME found the APN (TS 29.274 clause 8.58)
    charging_characteristics: int | None = None     # subscribed (TS 32.251 annex A)
    session_id: int = 0                 # of the rules in the forwarder
    gx: PolicySession | None = None
    rules: dict[bytes, ChargingRuleDefinition] = field(default_factory=dict)        # by Charging-Rule-Name
