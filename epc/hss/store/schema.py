"""The tables, as numbered migrations, and how a subscriber becomes rows.

One dialect for every database: named parameters, standard types, no upsert and no RETURNING, so that the same text runs on
SQLite, PostgreSQL and whatever SQLAlchemy has an async driver for. Secrets are hexadecimal text, readable with any SQL shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import cast

from epc.hss.store.subscriber import Algorithm, ApnConfiguration, PgwIdentity, Subscriber
from epc.node.database import Parameters, Schema
from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    NetworkAccessMode,
    OperatorDeterminedBarring,
    PdnType,
    SubscriberStatus,
)
from epc.wire.identity import Imsi, Plmn

SCHEMA = Schema("schema_version", (
    (1, (
        """CREATE TABLE subscriber (
            imsi VARCHAR(15) NOT NULL PRIMARY KEY,
            msisdn VARCHAR(15) NOT NULL,
            algorithm VARCHAR(8) NOT NULL,
            k VARCHAR(64) NOT NULL,
            opc VARCHAR(64) NOT NULL,
            op VARCHAR(64),
            amf VARCHAR(4) NOT NULL,
            sqn BIGINT NOT NULL,
            status SMALLINT NOT NULL,
            network_access_mode SMALLINT NOT NULL,
            access_restriction INTEGER NOT NULL,
            roaming_allowed SMALLINT NOT NULL,
            rau_tau_timer_s INTEGER NOT NULL,
            ambr_ul_bps BIGINT NOT NULL,
            ambr_dl_bps BIGINT NOT NULL,
            default_context_id INTEGER NOT NULL,
            mme_host VARCHAR(255),
            mme_realm VARCHAR(255),
            visited_plmn VARCHAR(6),
            purged SMALLINT NOT NULL,
            imeisv VARCHAR(16)
        )""",
        """CREATE TABLE apn_configuration (
            imsi VARCHAR(15) NOT NULL REFERENCES subscriber (imsi),
            context_id INTEGER NOT NULL,
            apn VARCHAR(100) NOT NULL,
            pdn_type SMALLINT NOT NULL,
            qci SMALLINT NOT NULL,
            arp_priority_level SMALLINT NOT NULL,
            preemption_capability SMALLINT NOT NULL,
            preemption_vulnerability SMALLINT NOT NULL,
            ambr_ul_bps BIGINT NOT NULL,
            ambr_dl_bps BIGINT NOT NULL,
            static_ipv4 VARCHAR(15),
            static_ipv6 VARCHAR(39),
            pgw_host VARCHAR(255),
            pgw_realm VARCHAR(255),
            pgw_address VARCHAR(39),
            PRIMARY KEY (imsi, context_id)
        )""",
    )),
    (2, (
        "ALTER TABLE subscriber ADD COLUMN barring INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE subscriber ADD COLUMN allowed_plmns VARCHAR(1000) NOT NULL DEFAULT ''",
        "ALTER TABLE subscriber ADD COLUMN blocked_plmns VARCHAR(1000) NOT NULL DEFAULT ''",
        "ALTER TABLE subscriber ADD COLUMN zone_codes VARCHAR(100) NOT NULL DEFAULT ''",
        "ALTER TABLE subscriber ADD COLUMN apn_oi_replacement VARCHAR(100)",
        "ALTER TABLE apn_configuration ADD COLUMN pgw_is_static SMALLINT NOT NULL DEFAULT 0",
        "ALTER TABLE apn_configuration ADD COLUMN vplmn_allowed SMALLINT NOT NULL DEFAULT 0",
        "ALTER TABLE apn_configuration ADD COLUMN apn_oi_replacement VARCHAR(100)",
    )),
))

SUBSCRIBER_COLUMNS = (
    "imsi", "msisdn", "algorithm", "k", "opc", "op", "amf", "sqn", "status", "network_access_mode", "access_restriction", "roaming_allowed",
    "rau_tau_timer_s", "ambr_ul_bps", "ambr_dl_bps", "default_context_id", "mme_host", "mme_realm", "visited_plmn", "purged", "imeisv",
    "barring", "allowed_plmns", "blocked_plmns", "zone_codes", "apn_oi_replacement",
)
APN_COLUMNS = (
    "context_id", "apn", "pdn_type", "qci", "arp_priority_level", "preemption_capability", "preemption_vulnerability",
    "ambr_ul_bps", "ambr_dl_bps", "static_ipv4", "static_ipv6", "pgw_host", "pgw_realm", "pgw_address",
    "pgw_is_static", "vplmn_allowed", "apn_oi_replacement",
)

_SUBSCRIBER = ", ".join(SUBSCRIBER_COLUMNS)
_APN = ", ".join(APN_COLUMNS)

_JOINED = ", ".join([f"s.{name}" for name in SUBSCRIBER_COLUMNS] + [f"a.{name}" for name in APN_COLUMNS])
# One statement, since a second one would cost more than the few columns that come twice: most subscribers have an APN or two.
SELECT_SUBSCRIBER = (f"SELECT {_JOINED} FROM subscriber s LEFT JOIN apn_configuration a ON a.imsi = s.imsi "
                     "WHERE s.imsi = :imsi ORDER BY a.context_id")
SELECT_PAGE = f"SELECT {_SUBSCRIBER} FROM subscriber WHERE imsi > :after AND imsi >= :first AND imsi <= :last ORDER BY imsi LIMIT :page"
SELECT_PAGE_APNS = f"SELECT imsi, {_APN} FROM apn_configuration WHERE imsi >= :first AND imsi <= :last ORDER BY imsi, context_id"
INSERT_SUBSCRIBER = f"INSERT INTO subscriber ({_SUBSCRIBER}) VALUES ({', '.join(':' + name for name in SUBSCRIBER_COLUMNS)})"
INSERT_APN = f"INSERT INTO apn_configuration (imsi, {_APN}) VALUES (:imsi, {', '.join(':' + name for name in APN_COLUMNS)})"
DELETE_SUBSCRIBER = "DELETE FROM subscriber WHERE imsi = :imsi"
DELETE_APNS = "DELETE FROM apn_configuration WHERE imsi = :imsi"
RANGE = "imsi >= :first AND imsi <= :last AND LENGTH(imsi) = :digits"
DELETE_RANGE = f"DELETE FROM subscriber WHERE {RANGE}"
DELETE_RANGE_APNS = f"DELETE FROM apn_configuration WHERE {RANGE}"
ADVANCE_SQN = "UPDATE subscriber SET sqn = :new WHERE imsi = :imsi AND sqn = :old"
REGISTER_MME = ("UPDATE subscriber SET mme_host = :mme_host, mme_realm = :mme_realm, visited_plmn = :visited_plmn, purged = 0, "
                "imeisv = COALESCE(:imeisv, imeisv) WHERE imsi = :imsi")
SET_PURGED = "UPDATE subscriber SET purged = 1 WHERE imsi = :imsi AND mme_host = :mme_host"
DEREGISTER_MME = "UPDATE subscriber SET mme_host = NULL, mme_realm = NULL, visited_plmn = NULL, purged = 0 WHERE imsi = :imsi"
SET_IMEISV = "UPDATE subscriber SET imeisv = :imeisv WHERE imsi = :imsi"
SET_PGW = ("UPDATE apn_configuration SET pgw_host = :pgw_host, pgw_realm = :pgw_realm, pgw_address = :pgw_address "
           "WHERE imsi = :imsi AND context_id = :context_id AND pgw_is_static = :pgw_is_static")
COUNT = "SELECT COUNT(*) FROM subscriber"
SERVING_MMES = "SELECT DISTINCT mme_host, mme_realm FROM subscriber WHERE mme_host IS NOT NULL AND purged = 0 ORDER BY mme_host"
COUNT_BY_MME = "SELECT mme_host, COUNT(*) FROM subscriber WHERE mme_host IS NOT NULL AND purged = 0 GROUP BY mme_host ORDER BY mme_host"

AFTER_EVERY_IMSI = "9" * 16         # greater than any IMSI as text
ROWS_PER_TRANSACTION = 5000         # a bulk load holds the writer's lock for some 50 ms, then lets a running HSS write
PAGE = 1000



def keep_history(old: Subscriber, new: Subscriber) -> Subscriber:
    """``new`` in the place of ``old``: registration and PDN GWs stay, and the SQN of the same USIM never goes backwards."""
    pgws = {apn.apn: apn.pgw for apn in old.apns if apn.pgw is not None and not apn.pgw.is_static}
    return replace(
        new, apns=tuple([replace(apn, pgw=pgws[apn.apn]) if apn.pgw is None and apn.apn in pgws else apn for apn in new.apns]),
        sqn=max(old.sqn, new.sqn) if old.k == new.k else new.sqn, mme_host=old.mme_host, mme_realm=old.mme_realm,
        visited_plmn=old.visited_plmn, purged=old.purged, imeisv=old.imeisv)


def subscriber_row(subscriber: Subscriber) -> Parameters:
    return {
        "imsi": subscriber.imsi, "msisdn": subscriber.msisdn, "algorithm": subscriber.algorithm.value,
        "k": subscriber.k.hex(), "opc": subscriber.opc.hex(), "op": None if subscriber.op is None else subscriber.op.hex(),
        "amf": subscriber.amf.hex(), "sqn": subscriber.sqn, "status": int(subscriber.status),
        "network_access_mode": int(subscriber.network_access_mode), "access_restriction": int(subscriber.access_restriction),
        "roaming_allowed": int(subscriber.roaming_allowed), "rau_tau_timer_s": subscriber.rau_tau_timer_s,
        "ambr_ul_bps": subscriber.ambr_ul_bps, "ambr_dl_bps": subscriber.ambr_dl_bps, "default_context_id": subscriber.default_context_id,
        "mme_host": subscriber.mme_host, "mme_realm": subscriber.mme_realm, "visited_plmn": subscriber.visited_plmn,
        "purged": int(subscriber.purged), "imeisv": subscriber.imeisv, "barring": int(subscriber.barring),
        "allowed_plmns": " ".join(subscriber.allowed_plmns), "blocked_plmns": " ".join(subscriber.blocked_plmns),
        "zone_codes": " ".join(map(str, subscriber.zone_codes)), "apn_oi_replacement": subscriber.apn_oi_replacement,
    }


def pgw_columns(pgw: PgwIdentity | None) -> Parameters:
    pgw = pgw or PgwIdentity()
    return {"pgw_host": pgw.host, "pgw_realm": pgw.realm, "pgw_address": pgw.address, "pgw_is_static": int(pgw.is_static)}


def apn_rows(subscriber: Subscriber) -> list[Parameters]:
    return [{
        "imsi": subscriber.imsi, "context_id": apn.context_id, "apn": apn.apn, "pdn_type": int(apn.pdn_type), "qci": apn.qci,
        "arp_priority_level": apn.arp_priority_level, "preemption_capability": int(apn.preemption_capability),
        "preemption_vulnerability": int(apn.preemption_vulnerability), "ambr_ul_bps": apn.ambr_ul_bps, "ambr_dl_bps": apn.ambr_dl_bps,
        "static_ipv4": apn.static_ipv4, "static_ipv6": apn.static_ipv6,
        **pgw_columns(apn.pgw), "vplmn_allowed": int(apn.vplmn_allowed), "apn_oi_replacement": apn.apn_oi_replacement,
    } for apn in subscriber.apns]


SubscriberRow = tuple[str, str, str, str, str, str | None, str, int, int, int, int, int, int, int, int, int,
                      str | None, str | None, str | None, int, str | None, int, str, str, str, str | None]
ApnRow = tuple[int, str, int, int, int, int, int, int, int, str | None, str | None, str | None, str | None, str | None, int, int, str | None]


@lru_cache(maxsize=1024)        # subscribers by the thousand have the same APNs
def read_apn(row: ApnRow) -> ApnConfiguration:
    """From a row with the columns of ``APN_COLUMNS``; raises ``ValueError`` for what no release ever wrote."""
    (context_id, apn, pdn_type, qci, level, capability, vulnerability, ul, dl, static_ipv4, static_ipv6, host, realm, address, is_static,
     vplmn_allowed, apn_oi_replacement) = row
    return ApnConfiguration(
        context_id=context_id, apn=apn, pdn_type=PdnType(pdn_type), qci=qci, arp_priority_level=level,
        preemption_capability=bool(capability), preemption_vulnerability=bool(vulnerability), ambr_ul_bps=ul, ambr_dl_bps=dl,
        static_ipv4=static_ipv4, static_ipv6=static_ipv6,
        pgw=PgwIdentity(host=host, realm=realm, address=address, is_static=bool(is_static)) if host or address else None,
        vplmn_allowed=bool(vplmn_allowed), apn_oi_replacement=apn_oi_replacement)


def read_subscriber(row: SubscriberRow, apns: tuple[ApnConfiguration, ...]) -> Subscriber:
    """From a row with the columns of ``SUBSCRIBER_COLUMNS``; raises ``ValueError`` for what no release ever wrote."""
    (imsi, msisdn, algorithm, k, opc, op, amf, sqn, status, network_access_mode, access_restriction, roaming_allowed,
     rau_tau_timer_s, ambr_ul_bps, ambr_dl_bps, default_context_id, mme_host, mme_realm, visited_plmn, purged, imeisv, barring, allowed_plmns,
     blocked_plmns, zone_codes, apn_oi_replacement) = row
    return Subscriber(
        imsi=Imsi(imsi), msisdn=msisdn, algorithm=Algorithm(algorithm), k=bytes.fromhex(k), opc=bytes.fromhex(opc),
        op=None if op is None else bytes.fromhex(op), amf=bytes.fromhex(amf), sqn=sqn, status=SubscriberStatus(status),
        network_access_mode=NetworkAccessMode(network_access_mode), access_restriction=AccessRestrictionData(access_restriction),
        roaming_allowed=bool(roaming_allowed), rau_tau_timer_s=rau_tau_timer_s, ambr_ul_bps=ambr_ul_bps, ambr_dl_bps=ambr_dl_bps,
        default_context_id=default_context_id, apns=apns, mme_host=mme_host, mme_realm=mme_realm,
        visited_plmn=None if visited_plmn is None else Plmn(visited_plmn), purged=bool(purged), imeisv=imeisv,
        barring=OperatorDeterminedBarring(barring), allowed_plmns=tuple(allowed_plmns.split()), blocked_plmns=tuple(blocked_plmns.split()),
        zone_codes=tuple([int(code) for code in zone_codes.split()]), apn_oi_replacement=apn_oi_replacement)


def read_joined(rows: Sequence[tuple[object, ...]]) -> Subscriber | None:
    """From all rows of ``SELECT_SUBSCRIBER``: one for each APN, or one with nulls in the place of an APN."""
    if not rows:
        return None
    own = len(SUBSCRIBER_COLUMNS)
    apns = tuple([read_apn(cast(ApnRow, row[own:])) for row in rows]) if rows[0][own] is not None else ()
    return read_subscriber(cast(SubscriberRow, rows[0][:own]), apns)


def read_page(rows: Iterable[SubscriberRow], apns: Iterable[tuple[object, ...]]) -> list[Subscriber]:
    """Subscribers with their APNs, from rows of ``SELECT_PAGE`` and ``SELECT_PAGE_APNS``."""
    by_imsi: dict[object, list[ApnConfiguration]] = {}
    for row in apns:
        by_imsi.setdefault(row[0], []).append(read_apn(cast(ApnRow, row[1:])))
    return [read_subscriber(row, tuple(by_imsi.get(row[0], ()))) for row in rows]
