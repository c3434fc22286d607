"""Open5GS's ``subscribers`` collection, as mongoexport writes it (one document a line, or ``--jsonArray``) and mongoimport reads it.

What has no counterpart here is left out on import: slices' SST and SD (all sessions of a subscriber become its APNs) and PCC
rules (the PCRF's business). What Open5GS does not know takes its default: roaming permission, TUAK. The SQN in the collection is the
next one to use, ours is the last one used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TextIO

from epc.hss.provisioning import fields
from epc.hss.provisioning.fields import FieldError
from epc.hss.provisioning.problems import ProvisioningError
from epc.hss.store import Algorithm, ApnConfiguration, Subscriber
from epc.security.eps_aka import next_sqn
from epc.wire.diameter.subscription import AccessRestrictionData, NetworkAccessMode, PdnType, SubscriberStatus

_PDN_TYPES = {1: PdnType.IPV4, 2: PdnType.IPV6, 3: PdnType.IPV4V6}
_SESSION_TYPES = {PdnType.IPV4: 1, PdnType.IPV6: 2, PdnType.IPV4V6: 3, PdnType.IPV4_OR_IPV6: 3}
_UNITS = {0: 1, 1: 10**3, 2: 10**6, 3: 10**9, 4: 10**12}        # bps, kbps, Mbps, Gbps, Tbps
_DISABLED, _ENABLED = 1, 2                                      # pre-emption; 0 is what releases before 2.1 wrote for enabled


def read_open5gs(text: str, name: str) -> Iterator[Subscriber]:
    """All subscribers of the file. Raises :class:`ProvisioningError` with every wrong document, before the first subscriber."""
    subscribers: list[Subscriber] = []
    problems: list[str] = []
    try:
        for line, document in _documents(text, name):
            try:
                subscribers.append(_read(_Document(document, "")))
            except FieldError as error:
                problems.append(f"{name}:{line}: {error}")
    except ProvisioningError as error:
        problems += error.problems
    if problems:
        raise ProvisioningError(problems)
    return iter(subscribers)


def _documents(text: str, name: str) -> Iterator[tuple[int, object]]:
    """Line and value of every document: one after the other, or the elements of one array."""
    decoder = json.JSONDecoder()
    position = _skip(text, 0, " \t\r\n")
    in_array = text[position:position + 1] == "["
    if in_array:
        position += 1
    line, counted = 1, 0
    while (position := _skip(text, position, " \t\r\n,")) < len(text) and not (in_array and text[position] == "]"):
        line, counted = line + text.count("\n", counted, position), position
        try:
            document, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ProvisioningError([f"{name}:{error.lineno}: column {error.colno}: not JSON: {error.msg}"]) from None
        except RecursionError:
            raise ProvisioningError([f"{name}:{line}: not a subscriber: nested too deeply"]) from None
        yield line, document


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


class _Document:
    """A JSON object that names the path of whatever is wrong in it."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise FieldError(path or "document", "an object { ... } is needed")
        self._value = value
        self._path = path

    def path(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str) -> object:
        """The value without MongoDB's type wrapper ({"$numberLong": "5"}); None when absent."""
        value = self._value.get(key)
        if isinstance(value, dict) and len(value) == 1:
            kind, wrapped = next(iter(value.items()))
            if kind in ("$numberInt", "$numberLong", "$numberDouble") and isinstance(wrapped, str | int | float):
                try:
                    return int(float(wrapped)) if kind == "$numberDouble" else int(wrapped)
                except (ValueError, OverflowError):
                    fields.fail(self.path(key), wrapped, "a whole number")
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def text(self, key: str) -> str:
        value = self.get(key)
        if isinstance(value, list):        # msisdn, mme_host: arrays of which the first element counts
            value = value[0] if value else None
        if value is None:
            return ""
        return value if isinstance(value, str) else fields.fail(self.path(key), value, "text")

    def number(self, key: str, default: int | None, least: int, most: int) -> int:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            fields.fail(self.path(key), value, f"a whole number from {least} to {most}")
        return value

    def child(self, key: str) -> _Document | None:
        value = self.get(key)
        return None if value is None else _Document(value, self.path(key))

    def children(self, key: str) -> list[_Document]:
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise FieldError(self.path(key), "an array [ ... ] is needed")
        return [_Document(each, f"{self.path(key)}[{index}]") for index, each in enumerate(value)]


def _read(document: _Document) -> Subscriber:
    security = document.child("security")
    if security is None:
        raise FieldError("security", "is missing; needed: an object with k and one of opc, op")
    k = fields.parse_hex(_hex(security, "k"), "security.k", 16)
    opc, op = _hex(security, "opc"), _hex(security, "op")
    secrets = fields.parse_secrets(Algorithm.MILENAGE, k.hex(), opc, "" if opc else op)
    # Sessions of every slice become APNs; the default slice's first one is the default APN.
    slices = sorted(document.children("slice"), key=lambda each: each.get("default_indicator") is not True)
    apns = [_read_session(session, context_id) for context_id, session in enumerate(
        (session for each in slices for session in each.children("session")), 1)]
    ambr_ul, ambr_dl = _read_ambr(document.child("ambr"), 500_000_000, 1_000_000_000)
    mme_host = document.text("mme_host") or None
    return Subscriber(
        imsi=fields.parse_imsi(document.text("imsi")), msisdn=fields.parse_msisdn(document.text("msisdn")),
        k=secrets.k, opc=secrets.opc, op=secrets.op, amf=fields.parse_hex(_hex(security, "amf") or "8000", "security.amf", 2),
        sqn=security.number("sqn", 0, 0, fields.MAX_SQN),
        status=SubscriberStatus(document.number("subscriber_status", 0, 0, 1)),
        network_access_mode=_network_access_mode(document),
        access_restriction=AccessRestrictionData(document.number("access_restriction_data", 0, 0, 2**32 - 1)),
        rau_tau_timer_s=60 * document.number("subscribed_rau_tau_timer", 54, 0, 2**24),
        ambr_ul_bps=ambr_ul, ambr_dl_bps=ambr_dl, apns=fields.check_apns(apns, 1, "slice.session.name"),
        mme_host=mme_host, mme_realm=document.text("mme_realm") or None if mme_host else None, imeisv=document.text("imeisv") or None)


def _hex(security: _Document, key: str) -> str:
    return "".join(security.text(key).split())      # the web interface groups the digits with spaces


def _network_access_mode(document: _Document) -> NetworkAccessMode:
    value = document.number("network_access_mode", 0, 0, 2)
    return fields.fail("network_access_mode", value, "0, 2") if value == 1 else NetworkAccessMode(value)


def _read_session(session: _Document, context_id: int) -> ApnConfiguration:
    qos = session.child("qos")
    arp = qos.child("arp") if qos else None
    ue = session.child("ue")
    ambr_ul, ambr_dl = _read_ambr(session.child("ambr"), 50_000_000, 100_000_000)
    ipv4 = (ue.text("ipv4") or ue.text("addr")) if ue else ""
    ipv6 = (ue.text("ipv6") or ue.text("addr6")) if ue else ""
    return ApnConfiguration(
        context_id=context_id, apn=fields.parse_apn_name(session.text("name"), session.path("name")),
        pdn_type=_PDN_TYPES[session.number("type", 3, 1, 3)], qci=qos.number("index", 9, 1, 254) if qos else 9,
        arp_priority_level=arp.number("priority_level", 8, 1, 15) if arp else 8,
        preemption_capability=arp is not None and arp.number("pre_emption_capability", _DISABLED, 0, 2) != _DISABLED,
        preemption_vulnerability=arp is not None and arp.number("pre_emption_vulnerability", _DISABLED, 0, 2) != _DISABLED,
        ambr_ul_bps=ambr_ul, ambr_dl_bps=ambr_dl,
        static_ipv4=fields.parse_static_address(ipv4, session.path("ue.ipv4"), 4) if ipv4 and ipv4 != "0.0.0.0" else None,
        static_ipv6=fields.parse_static_address(ipv6, session.path("ue.ipv6"), 6) if ipv6 else None)


def _read_ambr(ambr: _Document | None, uplink: int, downlink: int) -> tuple[int, int]:
    if ambr is None:
        return uplink, downlink
    return _read_rate(ambr, "uplink", uplink), _read_rate(ambr, "downlink", downlink)


def _read_rate(ambr: _Document, key: str, default: int) -> int:
    rate = ambr.child(key)
    if rate is None:
        return default
    return rate.number("value", None, 1, fields.MAX_BIT_RATE) * _UNITS[rate.number("unit", 0, 0, 4)]


def write_open5gs(subscribers: Iterable[Subscriber], out: TextIO) -> int:
    """Returns how many were written; raises :class:`ProvisioningError` at one that Open5GS cannot hold."""
    number = 0
    for subscriber in subscribers:
        if subscriber.algorithm is not Algorithm.MILENAGE:
            raise ProvisioningError([f"subscriber {subscriber.imsi}: Open5GS has no {subscriber.algorithm.value}"])
        out.write(json.dumps(_document(subscriber)) + "\n")
        number += 1
    return number


def _document(subscriber: Subscriber) -> dict[str, object]:
    # The default APN comes first: that is how Open5GS chooses it.
    apns = sorted(subscriber.apns, key=lambda apn: (apn.context_id != subscriber.default_context_id, apn.context_id))
    return {
        "schema_version": 1, "imsi": subscriber.imsi, "msisdn": [subscriber.msisdn] if subscriber.msisdn else [],
        "imeisv": [subscriber.imeisv] if subscriber.imeisv else [],
        "mme_host": [subscriber.mme_host] if subscriber.mme_host else [], "mme_realm": [subscriber.mme_realm] if subscriber.mme_realm else [],
        "purge_flag": [subscriber.purged] if subscriber.mme_host else [],
        "security": {
            "k": subscriber.k.hex().upper(), "op": subscriber.op.hex().upper() if subscriber.op else None,
            "opc": None if subscriber.op else subscriber.opc.hex().upper(), "amf": subscriber.amf.hex().upper(),
            "sqn": {"$numberLong": str(next_sqn(subscriber.sqn))},
        },
        "ambr": _ambr(subscriber.ambr_ul_bps, subscriber.ambr_dl_bps),
        "slice": [{"sst": 1, "default_indicator": True, "session": [_session(apn) for apn in apns]}],
        "access_restriction_data": int(subscriber.access_restriction), "subscriber_status": int(subscriber.status),
        "operator_determined_barring": 0, "network_access_mode": int(subscriber.network_access_mode),
        "subscribed_rau_tau_timer": subscriber.rau_tau_timer_s // 60,
    }


def _session(apn: ApnConfiguration) -> dict[str, object]:
    session: dict[str, object] = {
        "name": apn.apn, "type": _SESSION_TYPES[apn.pdn_type],
        "qos": {"index": apn.qci, "arp": {
            "priority_level": apn.arp_priority_level,
            "pre_emption_capability": _ENABLED if apn.preemption_capability else _DISABLED,
            "pre_emption_vulnerability": _ENABLED if apn.preemption_vulnerability else _DISABLED,
        }},
        "ambr": _ambr(apn.ambr_ul_bps, apn.ambr_dl_bps), "pcc_rule": [],
    }
    addresses = {version: address for version, address in (("ipv4", apn.static_ipv4), ("ipv6", apn.static_ipv6)) if address}
    return {**session, "ue": addresses} if addresses else session


def _ambr(uplink: int, downlink: int) -> dict[str, object]:
    return {"uplink": _rate(uplink), "downlink": _rate(downlink)}


def _rate(bps: int) -> dict[str, int]:
    unit = max(unit for unit, factor in _UNITS.items() if bps % factor == 0)
    return {"value": bps // _UNITS[unit], "unit": unit}
