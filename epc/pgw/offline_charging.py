"""The PGW's charging records: one P-GW-CDR after the other for each bearer (TS 32.251 clauses 5.2.3.8 to 5.2.3.10 and 6.1.3).

What a bearer carries is measured by charging key (rating group and service identifier of the PCC rules): that is the list of service data,
and its sum the list of traffic volumes. URR 2 and 2000 + n watch the volume limit of the default bearer and of bearer n; they measure what the
bearer's others measure, from 2100 on one for each charging key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from epc.charging import ChargedBearer, Conditions, OfflineCharging, OfflineChargingFunction, ServiceKey, Volume
from epc.charging.gtp import is_dynamic, location_of, qos_of, split_apn, time_zone_of
from epc.dataplane.rules import RuleError, Urr, Usage
from epc.pgw.context import Bearer, PccRule, PdnSession
from epc.procedure import procedure
from epc.wire.cdr import CauseForRecClosing, ChChSelectionMode, PdpType, PgwRecord, ServingNodeType
from epc.wire.diameter.groups import TerminationCause
from epc.wire.gtpv2 import CreateSessionRequest

if TYPE_CHECKING:
    import datetime

    from epc.pgw.node import Pgw

_LIMIT_OF_DEFAULT_BEARER = 2
_LIMITS = 2000
_FIRST_KEY = 2100
_CAUSES = {
    TerminationCause.DIAMETER_LOGOUT: CauseForRecClosing.NORMAL_RELEASE,
    TerminationCause.DIAMETER_ADMINISTRATIVE: CauseForRecClosing.NORMAL_RELEASE,
}


class OfflineMeter:
    """Measures one PDN connection for its records (see :class:`epc.pgw.context.Meter`). What was measured once stays measured to the end."""

    def __init__(self, session: PdnSession, limit_octets: int | None, *, rating_group: int, is_dynamic: bool) -> None:
        self.session = session
        self._rating_group = rating_group               # of rules without one
        self.is_dynamic = is_dynamic                    # the address was the PGW's to choose
        self.bearers: dict[Bearer, ChargedBearer] = {}
        self._limit_octets = limit_octets
        self._keys: dict[tuple[Bearer, ServiceKey], int] = {}      # URR ids
        self._read: dict[int, Volume] = {}

    def urrs(self) -> Iterator[Urr]:
        for bearer in self._measured():
            yield Urr(id=limit_of(bearer), volume_threshold_octets=self._limit_octets)
        for rule in (self.session.remainder, *self.session.rules.values()):
            for carrier in (rule.bearer, rule.moving_to):
                if carrier is not None:
                    self._key(rule, carrier)
        for urr_id in self._keys.values():
            yield Urr(id=urr_id)

    def _measured(self) -> list[Bearer]:
        """Also what the UE sends on a bearer that is still being set up."""
        coming = [rule.moving_to for rule in self.session.rules.values() if rule.moving_to is not None]
        return list(dict.fromkeys([*self.session.bearers.values(), *coming]))

    def urr_ids_of(self, rule: PccRule, bearer: Bearer) -> tuple[int, ...]:
        return limit_of(bearer), self._key(rule, bearer)

    def _key(self, rule: PccRule, bearer: Bearer) -> int:
        group = rule.definition.rating_group
        key = ServiceKey(self._rating_group if group is None else group, rule.definition.service_identifier)
        return self._keys.setdefault((bearer, key), _FIRST_KEY + len(self._keys))

    def since_last(self, bearer: Bearer, usage: Mapping[int, Usage]) -> Iterator[tuple[ServiceKey, Volume]]:
        """What the bearer carried on top of what was asked for before."""
        for (measured, key), urr_id in self._keys.items():
            found = usage.get(urr_id)
            if measured is bearer and found is not None:
                now = Volume(found.uplink_octets, found.downlink_octets)
                yield key, now.since(self._read.get(urr_id, Volume()))
                self._read[urr_id] = now

    def bearer_of_limit(self, urr_id: int) -> Bearer | None:
        return next((bearer for bearer in self.bearers if limit_of(bearer) == urr_id), None)


def limit_of(bearer: Bearer) -> int:
    """The URR that watches a bearer's volume limit."""
    return _LIMIT_OF_DEFAULT_BEARER if bearer.number == 0 else _LIMITS + bearer.number


class PgwCharging:
    """Which bearer has which record."""

    def __init__(self, pgw: Pgw, config: OfflineCharging) -> None:
        self.pgw = pgw
        self._config = config
        self.function = OfflineChargingFunction(pgw, config, pgw.config.s5c.host)
        self._meters: dict[PdnSession, OfflineMeter] = {}       # of sessions that are charged

    # what happens

    def prepare(self, session: PdnSession, request: CreateSessionRequest) -> None:
        """Before the session's rules go into the forwarder."""
        gy = self.pgw.config.gy
        session.meters.append(OfflineMeter(
            session, self._config.partial.octets, rating_group=0 if gy is None else gy.rating_group, is_dynamic=is_dynamic(request.paa)))

    def connected(self, session: PdnSession) -> None:
        """The session stands."""
        self._meters[session] = next(meter for meter in session.meters if isinstance(meter, OfflineMeter))
        self.changed(session)

    def changed(self, session: PdnSession) -> None:
        """Bearers, their QoS, or where the UE is may have changed. The records follow."""
        meter = self._meters.get(session)
        if meter is None:
            return
        present = set(session.bearers.values())
        for bearer in [each for each in meter.bearers if each not in present]:
            if self.pgw.sx is None:
                self.function.close(meter.bearers.pop(bearer), CauseForRecClosing.NORMAL_RELEASE)
            else:
                self.pgw.runner.start(close_bearer, self, session, meter.bearers.pop(bearer))
        for bearer in session.bearers.values():
            conditions = self._conditions(session, bearer)
            found = meter.bearers.get(bearer)
            if found is not None:
                self.function.change(found, conditions)
            else:
                meter.bearers[bearer] = self.function.open(
                    partial(self._record, meter, bearer), conditions, read=partial(self._used, meter, bearer),
                    granted=partial(self._grant, session, bearer))

    def threshold_reached(self, session: PdnSession, urr_id: int) -> None:
        meter = self._meters.get(session)
        bearer = None if meter is None else meter.bearer_of_limit(urr_id)
        if meter is None or bearer is None:
            return
        if self.pgw.sx is None:
            self.function.volume_reached(meter.bearers[bearer])
        else:
            self.pgw.runner.start(measure, self, session, meter.bearers[bearer])

    def disconnected(self, session: PdnSession, cause: TerminationCause, usage: Mapping[int, Usage]) -> None:
        """The session is out of the forwarder, which has counted ``usage`` for it."""
        meter = self._meters.pop(session, None)
        if meter is None:
            return
        closing = _CAUSES.get(cause, CauseForRecClosing.ABNORMAL_RELEASE)
        if self.pgw.sx is None:
            self.close_all(meter, closing, usage)
        else:
            self.pgw.runner.start(close_session, self, meter, closing, usage)

    def close_all(self, meter: OfflineMeter, cause: CauseForRecClosing, usage: Mapping[int, Usage]) -> None:
        for bearer, found in meter.bearers.items():
            self.function.close(found, cause, meter.since_last(bearer, usage))
        meter.bearers.clear()

    # for the charging function

    def _used(self, meter: OfflineMeter, bearer: Bearer) -> list[tuple[ServiceKey, Volume]]:
        try:
            usage = self.pgw.forwarder.usage(meter.session.session_id)
        except RuleError:
            return []
        return list(meter.since_last(bearer, usage))

    def _grant(self, session: PdnSession, bearer: Bearer) -> None:
        """A record begins before the former one was full: the threshold counts from here."""
        if self._config.partial.octets is not None and self.pgw.is_established(session):
            self.pgw.apply(session, granted=(limit_of(bearer),))

    def _conditions(self, session: PdnSession, bearer: Bearer) -> Conditions:
        where, ambr = session.whereabouts, session.policy.ambr
        return Conditions(
            serving_node=ip_address(session.sgw.host), serving_node_type=ServingNodeType.GTP_SGW, serving_plmn=where.serving_network,
            rat_type=where.rat_type, ms_time_zone=time_zone_of(where.ue_time_zone), user_location=location_of(where.uli), qos=qos_of(bearer.qos),
            apn_ambr=None if ambr is None else (ambr.uplink_kbps * 1000, ambr.downlink_kbps * 1000))

    def _record(self, meter: OfflineMeter, bearer: Bearer, opened: datetime.datetime) -> PgwRecord:
        session = meter.session
        characteristics = session.charging_characteristics
        return PgwRecord(
            served_imsi=session.imsi, served_imei=session.mei, served_msisdn=session.msisdn, charging_id=bearer.charging_id,
            pdn_connection_charging_id=session.charging_id, serving_node_address=(), serving_node_type=(),
            access_point_name_ni=split_apn(session.apn)[0], apn_selection_mode=session.selection_mode, pdp_pdn_type=PdpType.IPV4,
            served_pdp_pdn_address=session.ue_address, dynamic_address_flag=meter.is_dynamic or None, record_opening_time=opened,
            start_time=opened, duration_s=0, cause_for_rec_closing=CauseForRecClosing.ABNORMAL_RELEASE, node_id=self.function.node_id,
            charging_characteristics=characteristics or 0,
            ch_ch_selection_mode=ChChSelectionMode.HOME_DEFAULT if characteristics is None else ChChSelectionMode.SERVING_NODE_SUPPLIED,
            pgw_plmn_identifier=self._config.plmn, pgw_address=ip_address(self.pgw.config.s5c.host))


@procedure(spec="TS 32.251 clause 5.2.3.10.2, TS 29.244 clause 5.2.2.3.1")
async def measure(charging: PgwCharging, session: PdnSession, found: ChargedBearer) -> None:
    """The PGW-U has told of the limit only: the charging keys' volumes are asked for."""
    assert charging.pgw.sx is not None
    await charging.pgw.sx.measure(session.session_id)
    charging.function.volume_reached(found)


@procedure(spec="TS 32.251 clause 5.2.3.9")
async def close_session(charging: PgwCharging, meter: OfflineMeter, cause: CauseForRecClosing, usage: Mapping[int, Usage]) -> None:
    """The PGW-U tells the last volumes when it gives the session up."""
    pgw = charging.pgw
    assert pgw.sx is not None
    try:
        await pgw.sx.departed(meter.session.session_id)
    finally:
        charging.close_all(meter, cause, usage)


@procedure(spec="TS 32.251 clause 5.2.3.9")
async def close_bearer(charging: PgwCharging, session: PdnSession, found: ChargedBearer) -> None:
    """The PGW-U tells a bearer's last volumes when it gives its rules up."""
    pgw = charging.pgw
    assert pgw.sx is not None
    try:
        await pgw.sx.confirmed(session.session_id)
    except RuleError as error:
        pgw.log.warning("charging.last_volumes_missing", reason=str(error))
    charging.function.close(found, CauseForRecClosing.NORMAL_RELEASE)
