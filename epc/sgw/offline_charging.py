"""The SGW's charging records: one S-GW-CDR after the other for each bearer (TS 32.251 clauses 5.2.3.2 to 5.2.3.4 and 6.1.2).

The URR of a bearer has the bearer's number. Whoever the SGW serves is charged: what a roaming subscriber's home operator is billed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from epc.charging import ChargedBearer, Conditions, OfflineCharging, OfflineChargingFunction, ServiceKey, Volume
from epc.charging.gtp import address_of, is_dynamic, location_of, pdn_type_of, qos_of, split_apn, time_zone_of
from epc.dataplane.rules import RuleError, SessionChange, Urr, Usage
from epc.procedure import procedure
from epc.sgw.context import Bearer, PdnConnection
from epc.wire.cdr import CauseForRecClosing, ChChSelectionMode, PdpType, ServingNodeType, SgwRecord
from epc.wire.gtpv2 import ChangeNotificationRequest, CreateSessionRequest, CreateSessionResponse, ModifyBearerRequest, UeTimeZone, Uli

if TYPE_CHECKING:
    import datetime

    from epc.sgw.node import Sgw

_ALL = ServiceKey()


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What charging knows of a PDN connection from its Create Session Request and Response, and from what changed since."""

    msisdn: str | None
    mei: str | None
    selection_mode: int | None
    charging_characteristics: int | None
    address: IPv4Address | IPv6Address | None
    pdn_type: PdpType | None
    is_dynamic: bool
    is_sgw_change: bool
    charging_id: int                    # of the default bearer
    serving_network: str | None
    rat_type: int | None
    uli: Uli | None
    ue_time_zone: UeTimeZone | None

    def updated(self, message: ModifyBearerRequest | ChangeNotificationRequest) -> Charged:
        """What a message says anew."""
        network, zone = getattr(message, "serving_network", None), getattr(message, "ue_time_zone", None)
        return replace(
            self, serving_network=self.serving_network if network is None else network, ue_time_zone=self.ue_time_zone if zone is None else zone,
            rat_type=self.rat_type if message.rat_type is None else message.rat_type, uli=self.uli if message.uli is None else message.uli)


class SgwCharging:
    """Which bearer has which record. Bearers get a URR only where there is offline charging."""

    def __init__(self, sgw: Sgw, config: OfflineCharging) -> None:
        self.sgw = sgw
        self._config = config
        self.function = OfflineChargingFunction(sgw, config, sgw.config.s5c.host)
        self._charged: dict[PdnConnection, Charged] = {}
        self._bearers: dict[Bearer, ChargedBearer] = {}
        self._read: dict[Bearer, Volume] = {}           # of what the forwarder has counted

    def urr(self, bearer: Bearer) -> Urr:
        return Urr(id=bearer.number, volume_threshold_octets=self._config.partial.octets)

    # what happens

    def connected(self, connection: PdnConnection, request: CreateSessionRequest, answer: CreateSessionResponse) -> None:
        """A PDN connection is installed, with its default bearer."""
        made = next(each for each in answer.bearer_contexts_created if each.ebi == connection.linked_ebi)
        wanted = request.bearer_contexts_to_be_created[0]
        self._charged[connection] = Charged(
            msisdn=request.msisdn, mei=request.mei, selection_mode=request.selection_mode,
            charging_characteristics=request.charging_characteristics, address=address_of(answer.paa), pdn_type=pdn_type_of(answer.paa),
            is_dynamic=is_dynamic(request.paa), is_sgw_change=wanted.s1u_enb_fteid is not None, charging_id=made.charging_id or 0,
            serving_network=request.serving_network, rat_type=request.rat_type, uli=request.uli, ue_time_zone=request.ue_time_zone)
        self.bearer_added(connection, connection.bearers[connection.linked_ebi], made.charging_id or 0)

    def bearer_added(self, connection: PdnConnection, bearer: Bearer, charging_id: int) -> None:
        """The bearer's rules are in the forwarder."""
        charged = self._charged.get(connection)
        if charged is not None:
            self._bearers[bearer] = self.function.open(
                partial(self._record, connection, charged, charging_id), self._conditions(connection, charged, bearer),
                read=partial(self._used, connection, bearer), granted=partial(self._grant, connection, bearer))

    def changed(self, connection: PdnConnection, message: ModifyBearerRequest | ChangeNotificationRequest | None = None) -> None:
        """The UE has moved, as ``message`` says, or a bearer's QoS is another one."""
        charged = self._charged.get(connection)
        if charged is None:
            return
        if message is not None:
            charged = self._charged[connection] = charged.updated(message)
        for bearer in connection.bearers.values():
            found = self._bearers.get(bearer)
            if found is not None:
                self.function.change(found, self._conditions(connection, charged, bearer))

    def threshold_reached(self, connection: PdnConnection, number: int) -> None:
        bearer = connection.bearer_of_number(number)
        found = None if bearer is None else self._bearers.get(bearer)
        if found is not None:
            self.function.volume_reached(found)

    def bearer_removed(self, connection: PdnConnection, bearer: Bearer, remove: Callable[[], None]) -> None:
        """A dedicated bearer ends; ``remove`` takes its rules out of the forwarder."""
        found = self._bearers.pop(bearer, None)
        if found is None:
            remove()
            return
        if self.sgw.sx is None:
            self.bearer_closed(bearer, found)
            remove()
        else:
            remove()
            self.sgw.runner.start(close_bearer, self, connection, bearer, found)

    def bearer_closed(self, bearer: Bearer, found: ChargedBearer) -> None:
        self.function.close(found, CauseForRecClosing.NORMAL_RELEASE)
        self._read.pop(bearer, None)

    def disconnected(self, connection: PdnConnection, cause: CauseForRecClosing, usage: Mapping[int, Usage]) -> None:
        """The PDN connection is out of the forwarder, which has counted ``usage`` for it."""
        if self._charged.pop(connection, None) is None:
            return
        bearers = [bearer for bearer in connection.bearers.values() if bearer in self._bearers]
        if self.sgw.sx is None:
            self.close_all(bearers, cause, usage)
        else:
            self.sgw.runner.start(close_connection, self, connection, bearers, cause, usage)

    def close_all(self, bearers: list[Bearer], cause: CauseForRecClosing, usage: Mapping[int, Usage]) -> None:
        for bearer in bearers:
            found = self._bearers.pop(bearer)
            self.function.close(found, cause, [(_ALL, self._since(bearer, usage))])
            self._read.pop(bearer, None)

    # for the charging function

    def _used(self, connection: PdnConnection, bearer: Bearer) -> list[tuple[ServiceKey, Volume]]:
        try:
            usage = self.sgw.forwarder.usage(connection.session_id)
        except RuleError:
            return []
        return [(_ALL, self._since(bearer, usage))]

    def _since(self, bearer: Bearer, usage: Mapping[int, Usage]) -> Volume:
        found = usage.get(bearer.number)
        before = self._read.get(bearer, Volume())
        if found is None:
            return Volume()
        now = self._read[bearer] = Volume(found.uplink_octets, found.downlink_octets)
        return now.since(before)

    def _grant(self, connection: PdnConnection, bearer: Bearer) -> None:
        """A record begins before the former one was full: the threshold counts from here."""
        urr = self.urr(bearer)
        if urr.volume_threshold_octets is not None and self.sgw.is_established(connection):
            self.sgw.forwarder.modify(connection.session_id, SessionChange(urrs=(urr,)))

    def _conditions(self, connection: PdnConnection, charged: Charged, bearer: Bearer) -> Conditions:
        return Conditions(
            serving_node=ip_address(connection.ue.mme.host), serving_node_type=ServingNodeType.MME, serving_plmn=charged.serving_network,
            rat_type=charged.rat_type, ms_time_zone=time_zone_of(charged.ue_time_zone), user_location=location_of(charged.uli),
            qos=qos_of(bearer.qos))

    def _record(self, connection: PdnConnection, charged: Charged, charging_id: int, opened: datetime.datetime) -> SgwRecord:
        apn, home = split_apn(connection.apn)
        imsi = connection.ue.imsi
        if home is None and self._config.plmn is not None and imsi.startswith(self._config.plmn):
            home = self._config.plmn
        return SgwRecord(
            served_imsi=imsi, served_imei=charged.mei, served_msisdn=charged.msisdn, charging_id=charging_id,
            pdn_connection_charging_id=charged.charging_id, serving_node_address=(), serving_node_type=(), access_point_name_ni=apn,
            apn_selection_mode=charged.selection_mode, pdp_pdn_type=charged.pdn_type, served_pdp_pdn_address=charged.address,
            dynamic_address_flag=charged.is_dynamic or None, record_opening_time=opened, start_time=opened, duration_s=0,
            cause_for_rec_closing=CauseForRecClosing.ABNORMAL_RELEASE, node_id=self.function.node_id,
            charging_characteristics=charged.charging_characteristics or 0,
            ch_ch_selection_mode=ChChSelectionMode.HOME_DEFAULT if charged.charging_characteristics is None
            else ChChSelectionMode.SERVING_NODE_SUPPLIED,
            pgw_plmn_identifier=home, sgw_address=ip_address(self.sgw.config.s5c.host), pgw_address_used=ip_address(connection.pgw.host),
            sgw_change=charged.is_sgw_change or None)


@procedure(spec="TS 32.251 clause 5.2.3.3")
async def close_connection(
    charging: SgwCharging, connection: PdnConnection, bearers: list[Bearer], cause: CauseForRecClosing, usage: Mapping[int, Usage]
) -> None:
    """The SGW-U tells the last volumes when it gives the session up."""
    sgw = charging.sgw
    assert sgw.sx is not None
    try:
        await sgw.sx.departed(connection.session_id)
    finally:
        charging.close_all(bearers, cause, usage)


@procedure(spec="TS 32.251 clause 5.2.3.3")
async def close_bearer(charging: SgwCharging, connection: PdnConnection, bearer: Bearer, found: ChargedBearer) -> None:
    """The SGW-U tells a bearer's last volumes when it gives its rules up."""
    sgw = charging.sgw
    assert sgw.sx is not None
    try:
        await sgw.sx.confirmed(connection.session_id)
    except RuleError as error:
        sgw.log.warning("charging.last_volumes_missing", reason=str(error))
    charging.bearer_closed(bearer, found)
