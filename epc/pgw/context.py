"""What the PGW knows of a PDN connection: its bearers, and the rules that they carry (TS 23.401 table 5.7.4-1, TS 23.203 clause 6.3)."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple, Protocol

from epc.dataplane.rules import FTeid, Urr
from epc.pgw.address_pool import AddressPool
from epc.pgw.policy import Policy
from epc.procedure import Slot
from epc.transport.interface import Address
from epc.wire.diameter.policy import ChargingRuleDefinition, FlowInformation
from epc.wire.gtpv2 import BearerQos, ChangeNotificationRequest, CreateSessionRequest, ModifyBearerRequest, RatType, UeTimeZone, Uli
from epc.wire.identity import Plmn
from epc.wire.nas import PacketFilter

if TYPE_CHECKING:
    from epc.pgw.online_charging import OnlineSession
    from epc.pgw.usage_monitoring import UsageMonitoring


@dataclass(slots=True, kw_only=True, eq=False)
class PolicySession:
    """The IP-CAN session with the PCRF (TS 29.212 clause 4.5.1)."""

    session_id: str                     # allocated by the PGW
    next_request_number: int = 0        # CC-Request-Number
    is_open: bool = False               # the PCRF has it, or may have it
    pcrf: str | None = None             # its Origin-Host, once it has answered
    event_triggers: frozenset[int] = frozenset()            # what the PCRF wants to hear of
    revalidation: asyncio.TimerHandle | None = None         # when it wants to be asked again


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


class SentFilter(NamedTuple):
    """A packet filter that the UE has, and the flow of the rule that it stands for (none: the one that keeps a TFT's uplink shut)."""

    packet_filter: PacketFilter
    rule_name: bytes
    rule_precedence: int
    flow: FlowInformation | None


@dataclass(slots=True, kw_only=True, eq=False)
class Bearer:
    """One EPS bearer. The default one, whose ``number`` is 0, has no filters; a dedicated one has those of its rules.

    ``filters`` is the TFT as the UE has it, by packet filter identifier.
    """

    ebi: int = 0                        # allocated by the MME; 0 while a dedicated bearer is being set up
    number: int                         # of its rules in the forwarder
    qos: BearerQos
    charging_id: int                    # allocated by the PGW
    s5u_pgw: FTeid                      # t5, allocated by the PGW
    s5u_sgw: FTeid | None = None        # t3, learned from the SGW; absent while a dedicated bearer is being set up
    filters: dict[int, SentFilter] = field(default_factory=dict)
    is_ending: bool = False             # it is being deleted: no rule is bound to it any more

    @property
    def is_default(self) -> bool:
        return self.number == 0


@dataclass(slots=True, kw_only=True, eq=False)
class PccRule:
    """A PCC rule that is installed. ``bearer`` carries it; it has none before its time has come, or its bearer stands."""

    definition: ChargingRuleDefinition
    number: int                         # of its PDRs and its gate in the forwarder; unique within the session, 0 for the remainder
    is_predefined: bool = False         # from this PGW's configuration
    base_name: str | None = None        # the group of predefined rules that it came with
    activation_time: datetime.datetime | None = None
    deactivation_time: datetime.datetime | None = None
    notifies_allocation: bool = False   # the PCRF wants to hear when its bearer stands (SUCCESSFUL_RESOURCE_ALLOCATION)
    is_active: bool = True              # its time has come and is not over
    bearer: Bearer | None = None
    moving_to: Bearer | None = None     # a bearer that is being set up for it; what the UE sends on it already passes

    @property
    def name(self) -> bytes:
        return self.definition.charging_rule_name


class Meter(Protocol):
    """Somebody who measures a session's traffic with URRs of their own: charging, usage monitoring.

    Identities of URRs: 1 is the whole PDN connection's, 2 the offline charging's, 3 and 16.. usage monitoring's, 4 application detection's,
    1000.. the online charging's.
    """

    def urrs(self) -> Iterable[Urr]:
        """The URRs as they are to stand. One that is there already is left alone unless it differs."""

    def urr_ids_of(self, rule: PccRule, bearer: Bearer) -> Iterable[int]:
        """Those of them that measure the packets of ``rule`` on ``bearer``, which carries it, or will when it has been set up.

        The remainder, which no PCC rule covers, comes as a rule as well.
        """


@dataclass(slots=True, kw_only=True, eq=False)
class PdnSession:
    imsi: str
    msisdn: str | None
    mei: str | None = None
    ebi: int                            # of the default bearer
    apn: str
    pool: AddressPool
    ue_address: IPv4Address
    policy: Policy                      # in force
    wanted_policy: Policy               # to be in force as soon as the UE has heard of it
    sgw: Address
    s5c_sgw_teid: int                   # t2, learned from the SGW's Create Session Request
    s5c_pgw_teid: int = 0               # t4, allocated by the PGW
    whereabouts: Whereabouts = Whereabouts()
    selection_mode: int | None = None               # how the MME found the APN (TS 29.274 clause 8.58)
    charging_characteristics: int | None = None     # subscribed (TS 32.251 annex A)
    session_id: int = 0                 # of the rules in the forwarder
    slot: Slot                          # one change of bearers at a time
    gx: PolicySession | None = None
    gy: OnlineSession | None = None     # where the PGW charges online
    bearers: dict[int, Bearer] = field(default_factory=dict)                # by EBI, the default one first
    rules: dict[bytes, PccRule] = field(default_factory=dict)               # by Charging-Rule-Name, enforced or not
    remainder: PccRule                  # what no PCC rule covers, on the default bearer
    meters: list[Meter] = field(default_factory=list)
    usage_monitoring: UsageMonitoring           # also one of the meters
    next_rule_change: asyncio.TimerHandle | None = None                     # when a rule's time comes or is over

    @property
    def default_bearer(self) -> Bearer:
        return self.bearers[self.ebi]

    @property
    def charging_id(self) -> int:
        """Of the default bearer, which is that of the PDN connection."""
        return self.default_bearer.charging_id

    def enforced_rules(self) -> Iterator[PccRule]:
        """Those that a bearer carries."""
        return (rule for rule in self.rules.values() if rule.bearer is not None)

    @property
    def dedicated_bearers(self) -> list[Bearer]:
        return [bearer for bearer in self.bearers.values() if not bearer.is_default]

    def rules_of(self, bearer: Bearer) -> list[PccRule]:
        return [rule for rule in self.rules.values() if rule.bearer is bearer]

    def free_bearer_number(self) -> int:
        used = {bearer.number for bearer in self.bearers.values()}
        used.update(rule.moving_to.number for rule in self.rules.values() if rule.moving_to is not None)
        number = 1
        while number in used:
            number += 1
        return number

    def stop_clocks(self) -> None:
        """Nothing more is to happen by itself."""
        if self.next_rule_change is not None:
            self.next_rule_change.cancel()
        if self.gx is not None and self.gx.revalidation is not None:
            self.gx.revalidation.cancel()

    def free_rule_number(self) -> int:
        used = {rule.number for rule in self.rules.values()}
        number = 1
        while number in used:
            number += 1
        return number


def remainder_of(bearer: Bearer) -> PccRule:
    """The rule for what no PCC rule covers."""
    return PccRule(definition=_REMAINDER, number=0, bearer=bearer)


_REMAINDER = ChargingRuleDefinition(charging_rule_name=b"")
