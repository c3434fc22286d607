"""Subscriber fields as people write them: on the command line, in CSV, in a node's configuration.

A parser takes text and returns the value or raises :class:`FieldError`, whose text says what is wrong and what is allowed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, NoReturn, TypeVar

from epc.hss.store import Algorithm, ApnConfiguration, PgwIdentity, Subscriber
from epc.security.milenage import derive_opc
from epc.security.tuak import derive_topc
from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    NetworkAccessMode,
    OperatorDeterminedBarring,
    PdnType,
    SubscriberStatus,
)
from epc.wire.fqdn import is_operator_identifier
from epc.wire.identity import Imsi

MAX_SQN = (1 << 48) - 1

# The test SIM of the documentation and of every example.
TEST_K = "465B5CE8B199B49FAA5F0A2EE238A6BC"
TEST_OPC = "E8ED289DEBA952E4283B54E88E6183CA"


class FieldError(ValueError):
    """One value is wrong. ``field`` is the column, option or key that holds it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def fail(field: str, value: object, allowed: str) -> NoReturn:
    raise FieldError(field, f"{value!r} is wrong; allowed: {allowed}")


# --- identities ---------------------------------------------------------------------------------------------------------------

class ImsiRange(NamedTuple):
    """``number`` subscribers with consecutive IMSIs."""

    first: str
    number: int

    @property
    def last(self) -> str:
        return add_to_digits(self.first, self.number - 1)


def add_to_digits(digits: str, number: int) -> str:
    """``digits`` counted up, leading zeros kept."""
    return f"{int(digits) + number:0{len(digits)}d}"


def parse_imsi(text: str, field: str = "imsi") -> Imsi:
    if not (6 <= len(text) <= 15 and text.isascii() and text.isdigit()):
        fail(field, text, "6 to 15 digits (MCC, MNC, MSIN)")
    return Imsi(text)


def parse_imsi_range(text: str, field: str = "imsi") -> ImsiRange:
    """``001010000000001`` or ``001010000000001+100000``: so many, the first one included."""
    first, plus, number = text.partition("+")
    imsi = parse_imsi(first.strip(), field)
    if not plus:
        return ImsiRange(imsi, 1)
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        fail(field, text, "IMSI+COUNT, for example 001010000000001+100000")
    span = ImsiRange(imsi, int(number))
    if len(span.last) != len(imsi):
        fail(field, text, f"a range that stays within {len(imsi)} digits")
    return span


def parse_digits(text: str, field: str, least: int, most: int) -> str:
    if not (least <= len(text) <= most and text.isascii() and text.isdigit()):
        fail(field, text, f"{least} to {most} digits")
    return text


def parse_msisdn(text: str, field: str = "msisdn") -> str:
    return parse_digits(text.removeprefix("+"), field, 5, 15) if text else ""


# --- secrets ------------------------------------------------------------------------------------------------------------------

def parse_hex(text: str, field: str, *octets: int) -> bytes:
    allowed = " or ".join(str(2 * number) for number in octets) + " hexadecimal digits"
    try:
        value = bytes.fromhex(text)
    except ValueError:
        fail(field, text, allowed)
    if len(value) not in octets:
        fail(field, text, allowed)
    return value


@lru_cache(maxsize=64)
def parse_algorithm(text: str, field: str = "algorithm") -> Algorithm:
    try:
        return Algorithm(text.lower())
    except ValueError:
        fail(field, text, ", ".join(Algorithm))


def parse_sqn(text: str, field: str = "sqn") -> int:
    return int.from_bytes(parse_hex(text, field, 6), "big")


class Secrets(NamedTuple):
    k: bytes
    opc: bytes
    op: bytes | None


@lru_cache(maxsize=64)
def parse_secrets(algorithm: Algorithm, k: str, opc: str, op: str) -> Secrets:
    """K with OPc, or K with OP from which OPc is derived; TOPc and TOP for TUAK."""
    k_octets, op_octets = ((16,), (16,)) if algorithm is Algorithm.MILENAGE else ((16, 32), (32,))
    key = parse_hex(k, "k", *k_octets)
    if bool(opc) == bool(op):
        raise FieldError("opc", "one of opc and op is needed, not " + ("both" if op else "none"))
    if opc:
        return Secrets(key, parse_hex(opc, "opc", *op_octets), None)
    operator = parse_hex(op, "op", *op_octets)
    return Secrets(key, derive_opc(key, operator) if algorithm is Algorithm.MILENAGE else derive_topc(key, operator), operator)


# --- subscription -------------------------------------------------------------------------------------------------------------

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:bps|bit/s)?")
_FACTOR = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MAX_BIT_RATE = 10**13


@lru_cache(maxsize=256)
def parse_bit_rate(text: str, field: str) -> int:
    """``100M``, ``1.5Gbps``, ``64000``: bits a second."""
    match = _RATE.fullmatch(text.strip())
    rate = round(float(match[1]) * _FACTOR[match[2]]) if match else 0
    if not 0 < rate <= MAX_BIT_RATE:
        fail(field, text, "a number with k, M, G or T, for example 100M")
    return rate


def format_bit_rate(bps: int) -> str:
    for unit in ("T", "G", "M", "k"):
        if bps and bps % _FACTOR[unit] == 0:
            return f"{bps // _FACTOR[unit]}{unit}"
    return str(bps)


def parse_number(text: str, field: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        fail(field, text, f"a whole number from {least} to {most}")
    return int(text)


def parse_yes_no(text: str, field: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        fail(field, text, "yes, no")
    return text.lower() in ("yes", "true", "1")


_STATUS = {"granted": SubscriberStatus.SERVICE_GRANTED, "barred": SubscriberStatus.OPERATOR_DETERMINED_BARRING}
_ACCESS_MODE = {"packet": NetworkAccessMode.ONLY_PACKET, "packet-and-circuit": NetworkAccessMode.PACKET_AND_CIRCUIT}
_PDN_TYPE = {"ipv4": PdnType.IPV4, "ipv6": PdnType.IPV6, "ipv4v6": PdnType.IPV4V6, "ipv4-or-ipv6": PdnType.IPV4_OR_IPV6}
_RESTRICTION = {
    "utran": AccessRestrictionData.UTRAN_NOT_ALLOWED, "geran": AccessRestrictionData.GERAN_NOT_ALLOWED, "gan": AccessRestrictionData.GAN_NOT_ALLOWED,
    "i-hspa-evolution": AccessRestrictionData.I_HSPA_EVOLUTION_NOT_ALLOWED, "e-utran": AccessRestrictionData.WB_E_UTRAN_NOT_ALLOWED,
    "handover-to-non-3gpp": AccessRestrictionData.HO_TO_NON_3GPP_ACCESS_NOT_ALLOWED, "nb-iot": AccessRestrictionData.NB_IOT_NOT_ALLOWED,
    "enhanced-coverage": AccessRestrictionData.ENHANCED_COVERAGE_NOT_ALLOWED, "nr-secondary": AccessRestrictionData.NR_AS_SECONDARY_RAT_NOT_ALLOWED,
}


_Choice = TypeVar("_Choice")


def _choose(table: Mapping[str, _Choice], text: str, field: str) -> _Choice:
    value = table.get(text.lower())
    return fail(field, text, ", ".join(table)) if value is None else value


def _name(table: Mapping[str, _Choice], value: _Choice) -> str:
    return next(name for name, known in table.items() if known == value)


@lru_cache(maxsize=64)
def parse_access_restriction(text: str, field: str = "access_restriction") -> AccessRestrictionData:
    """Names of what is forbidden, separated by spaces, or Access-Restriction-Data as a number."""
    if text.isascii() and text.isdigit():
        return AccessRestrictionData(parse_number(text, field, 0, 2**32 - 1))
    restriction = AccessRestrictionData(0)
    for name in text.split():
        restriction |= _choose(_RESTRICTION, name, field)
    return restriction


def format_access_restriction(restriction: AccessRestrictionData) -> str:
    names = [name for name, bit in _RESTRICTION.items() if bit in restriction]
    known = parse_access_restriction(" ".join(names))
    return " ".join(names) if known == restriction else str(int(restriction))


_BARRING = {
    "all": OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED,
    "home-apns-abroad": OperatorDeterminedBarring.ROAMER_ACCESS_HPLMN_AP_BARRED,
    "visited-apns": OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED,
}


@lru_cache(maxsize=64)
def parse_barring(text: str, field: str = "barring") -> OperatorDeterminedBarring:
    """Names of what operator determined barring forbids, separated by spaces."""
    barring = OperatorDeterminedBarring(0)
    for name in text.split():
        barring |= _choose(_BARRING, name, field)
    return barring


def parse_plmns(text: str, field: str) -> tuple[str, ...]:
    """Networks (``21407``) and whole countries (``214``), separated by spaces."""
    plmns = tuple(text.split())
    for plmn in plmns:
        parse_digits(plmn, field, 3, 6)
    if len(" ".join(plmns)) > 1000:
        fail(field, text, "at most 1000 characters; name countries")
    return plmns


def parse_zone_codes(text: str, field: str = "zone_codes") -> tuple[int, ...]:
    codes = tuple([parse_number(code, field, 0, 0xFFFF) for code in text.split()])
    if len(codes) > 10:         # TS 29.272 clause 7.3.9
        fail(field, text, "at most 10 codes")
    return codes


def parse_operator_identifier(text: str, field: str) -> str:
    if not is_operator_identifier(text) or len(text) > 100:
        fail(field, text, "an APN operator identifier, such as province1.mnc001.mcc001.gprs")
    return text.lower()


def parse_pgw(text: str, field: str) -> PgwIdentity:
    """A PGW to be used and no other: an IP address, or a name that the DNS knows."""
    try:
        return PgwIdentity(address=str(ipaddress.ip_address(text)), is_static=True)
    except ValueError:
        labels = text.rstrip(".").split(".")
        if len(labels) < 2 or len(text) > 255 or not all(_APN_LABEL.fullmatch(label) for label in labels):
            fail(field, text, "an IP address, or a host name with a domain")
        return PgwIdentity(host=text.lower(), realm=".".join(labels[1:]).lower(), is_static=True)


def parse_static_address(text: str, field: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        fail(field, text, f"an IPv{version} address")
    return str(address)


_APN_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_APN_OPTIONS = ("id", "type", "qci", "arp", "preempt", "vulnerable", "ul", "dl", "ipv4", "ipv6", "visited", "oi", "pgw")


def parse_apn_name(text: str, field: str) -> str:
    """An APN network identifier (TS 23.003 clause 9.1.1), or the wildcard APN."""
    labels = text.split(".")
    if text != "*" and not (len(text) <= 63 and all(_APN_LABEL.fullmatch(label) and len(label) < 64 for label in labels)):
        fail(field, text, "letters, digits, hyphens and dots, at most 63 characters; or * for any APN")
    return text.lower()


@lru_cache(maxsize=256)
def parse_apn(text: str, field: str = "apns", position: int = 1) -> ApnConfiguration:
    """``internet``, or with options ``ims type=ipv4v6 qci=5 arp=1 preempt=yes vulnerable=no ul=50M dl=100M ipv4=10.45.0.9``."""
    words = text.split()
    if not words:
        fail(field, text, "an APN, then options such as qci=9")
    apn = ApnConfiguration(context_id=position, apn=parse_apn_name(words[0], field))
    for word in words[1:]:
        option, equals, value = word.partition("=")
        where = f"{field} ({words[0]} {option})"
        match option if equals else "":
            case "id":
                apn = replace(apn, context_id=parse_number(value, where, 1, 255))
            case "type":
                apn = replace(apn, pdn_type=_choose(_PDN_TYPE, value, where))
            case "qci":
                apn = replace(apn, qci=parse_number(value, where, 1, 254))
            case "arp":
                apn = replace(apn, arp_priority_level=parse_number(value, where, 1, 15))
            case "preempt":
                apn = replace(apn, preemption_capability=parse_yes_no(value, where))
            case "vulnerable":
                apn = replace(apn, preemption_vulnerability=parse_yes_no(value, where))
            case "ul":
                apn = replace(apn, ambr_ul_bps=parse_bit_rate(value, where))
            case "dl":
                apn = replace(apn, ambr_dl_bps=parse_bit_rate(value, where))
            case "ipv4":
                apn = replace(apn, static_ipv4=parse_static_address(value, where, 4))
            case "ipv6":
                apn = replace(apn, static_ipv6=parse_static_address(value, where, 6))
            case "visited":
                apn = replace(apn, vplmn_allowed=parse_yes_no(value, where))
            case "oi":
                apn = replace(apn, apn_oi_replacement=parse_operator_identifier(value, where))
            case "pgw":
                apn = replace(apn, pgw=parse_pgw(value, where))
            case _:
                fail(field, word, "options " + ", ".join(f"{name}=" for name in _APN_OPTIONS))
    return apn


def format_apn(apn: ApnConfiguration) -> str:
    words = [
        apn.apn, f"id={apn.context_id}", f"type={_name(_PDN_TYPE, apn.pdn_type)}", f"qci={apn.qci}", f"arp={apn.arp_priority_level}",
        f"preempt={'yes' if apn.preemption_capability else 'no'}", f"vulnerable={'yes' if apn.preemption_vulnerability else 'no'}",
        f"ul={format_bit_rate(apn.ambr_ul_bps)}", f"dl={format_bit_rate(apn.ambr_dl_bps)}",
    ]
    if apn.static_ipv4 is not None:
        words.append(f"ipv4={apn.static_ipv4}")
    if apn.static_ipv6 is not None:
        words.append(f"ipv6={apn.static_ipv6}")
    if apn.vplmn_allowed:
        words.append("visited=yes")
    if apn.apn_oi_replacement is not None:
        words.append(f"oi={apn.apn_oi_replacement}")
    if apn.pgw is not None and apn.pgw.is_static:
        words.append(f"pgw={apn.pgw.address or apn.pgw.host}")
    return " ".join(words)


def check_apns(apns: Sequence[ApnConfiguration], default_context_id: int, field: str = "apns") -> tuple[ApnConfiguration, ...]:
    """Context identifiers and names are unique, and the default APN is one of them and not the wildcard (TS 29.272 clause 7.3.34)."""
    ids = [apn.context_id for apn in apns]
    names = [apn.apn for apn in apns]
    if len(set(ids)) != len(ids):
        raise FieldError(field, f"the same id twice in {ids}; allowed: a different one for every APN")
    if len(set(names)) != len(names):
        raise FieldError(field, f"the same APN twice in {', '.join(names)}")
    default = next((apn for apn in apns if apn.context_id == default_context_id), None)
    if apns and (default is None or default.apn == "*"):
        raise FieldError("default_context_id", f"{default_context_id} is wrong; allowed: the id of an APN other than *, out of {ids}")
    return tuple(apns)


@lru_cache(maxsize=64)
def parse_apns(text: str, default_context_id: int, field: str = "apns") -> tuple[ApnConfiguration, ...]:
    """APNs separated by semicolons; an empty text is a subscriber without EPS subscription."""
    parts = [part for part in text.split(";") if part.strip()]
    return check_apns([parse_apn(part, field, position) for position, part in enumerate(parts, 1)], default_context_id, field)


# --- a whole subscriber -------------------------------------------------------------------------------------------------------

COLUMNS: Mapping[str, str] = {
    "imsi": "6 to 15 digits; 001010000000001+1000 stands for a thousand subscribers that differ in IMSI (and MSISDN) only",
    "msisdn": "digits, may be empty",
    "algorithm": "milenage (default), tuak",
    "k": "32 hexadecimal digits (tuak: 32 or 64)",
    "opc": "32 hexadecimal digits (TOPc of tuak: 64)",
    "op": "instead of opc: the operator's value, from which opc is computed",
    "amf": "4 hexadecimal digits, default 8000",
    "sqn": "12 hexadecimal digits, default 0: the last sequence number used",
    "status": "granted (default), barred",
    "access_mode": "packet (default), packet-and-circuit",
    "access_restriction": "what is forbidden: " + " ".join(_RESTRICTION) + "; or a number",
    "barring": "what operator determined barring forbids: " + " ".join(_BARRING),
    "roaming_allowed": "yes (default), no",
    "allowed_plmns": "visited networks (21407) or countries (214) where roaming is allowed, separated by spaces; default: everywhere",
    "blocked_plmns": "visited networks or countries where it is not",
    "zone_codes": "regional subscription: codes of zones, at most 10; default: everywhere",
    "apn_oi_replacement": "for APNs without one of their own: province1.mnc001.mcc001.gprs",
    "rau_tau_timer_s": "periodic tracking area update, seconds, default 3240",
    "ambr_ul": "UE-AMBR uplink, default 500M",
    "ambr_dl": "UE-AMBR downlink, default 1G",
    "default_context_id": "id of the default APN, default 1",
    "apns": "internet type=ipv4 qci=9 arp=8 preempt=no vulnerable=yes ul=50M dl=100M; the next one",
}
_DEFAULT = Subscriber(imsi=Imsi("001010000000001"), k=bytes(16), opc=bytes(16))


def parse_subscriber(text: Mapping[str, str]) -> tuple[Subscriber, int]:
    """A subscriber from text by column, and how many IMSIs follow on from it. An absent or empty column has its default.

    Raises :class:`FieldError` for the first wrong value.
    """
    def given(column: str) -> str:
        return text.get(column, "").strip()

    span = parse_imsi_range(given("imsi"))
    algorithm = parse_algorithm(given("algorithm") or "milenage")
    secrets = parse_secrets(algorithm, given("k"), given("opc"), given("op"))
    default_context_id = parse_number(given("default_context_id") or "1", "default_context_id", 1, 255)
    apns = parse_apns(text["apns"], default_context_id) if "apns" in text else _DEFAULT.apns
    if span.number > 1 and any(apn.static_ipv4 or apn.static_ipv6 for apn in apns):
        raise FieldError("apns", "a range of IMSIs cannot share a static address")
    subscriber = Subscriber(
        imsi=Imsi(span.first), msisdn=parse_msisdn(given("msisdn")), algorithm=algorithm, k=secrets.k, opc=secrets.opc, op=secrets.op,
        amf=parse_hex(given("amf") or "8000", "amf", 2), sqn=parse_sqn(given("sqn")) if given("sqn") else 0,
        status=_choose(_STATUS, given("status") or "granted", "status"),
        network_access_mode=_choose(_ACCESS_MODE, given("access_mode") or "packet", "access_mode"),
        access_restriction=parse_access_restriction(given("access_restriction")),
        barring=parse_barring(given("barring")),
        roaming_allowed=parse_yes_no(given("roaming_allowed") or "yes", "roaming_allowed"),
        allowed_plmns=parse_plmns(given("allowed_plmns"), "allowed_plmns"), blocked_plmns=parse_plmns(given("blocked_plmns"), "blocked_plmns"),
        zone_codes=parse_zone_codes(given("zone_codes")),
        apn_oi_replacement=parse_operator_identifier(given("apn_oi_replacement"), "apn_oi_replacement") if given("apn_oi_replacement") else None,
        rau_tau_timer_s=parse_number(given("rau_tau_timer_s") or str(_DEFAULT.rau_tau_timer_s), "rau_tau_timer_s", 0, 2**32 - 1),
        ambr_ul_bps=parse_bit_rate(given("ambr_ul"), "ambr_ul") if given("ambr_ul") else _DEFAULT.ambr_ul_bps,
        ambr_dl_bps=parse_bit_rate(given("ambr_dl"), "ambr_dl") if given("ambr_dl") else _DEFAULT.ambr_dl_bps,
        default_context_id=default_context_id, apns=apns)
    return subscriber, span.number


def expand(subscriber: Subscriber, count: int) -> Iterator[Subscriber]:
    """``subscriber`` and the ``count - 1`` that follow it; an MSISDN counts along."""
    yield subscriber
    for number in range(1, count):
        msisdn = add_to_digits(subscriber.msisdn, number) if subscriber.msisdn else ""
        yield replace(subscriber, imsi=Imsi(add_to_digits(subscriber.imsi, number)), msisdn=msisdn)


def format_subscriber(subscriber: Subscriber) -> dict[str, str]:
    """Text by column, which :func:`parse_subscriber` reads back."""
    return {
        "imsi": subscriber.imsi, "msisdn": subscriber.msisdn, "algorithm": subscriber.algorithm.value, "k": subscriber.k.hex(),
        "opc": "" if subscriber.op else subscriber.opc.hex(), "op": subscriber.op.hex() if subscriber.op else "",
        "amf": subscriber.amf.hex(), "sqn": f"{subscriber.sqn:012x}", "status": _name(_STATUS, subscriber.status),
        "access_mode": _name(_ACCESS_MODE, subscriber.network_access_mode),
        "access_restriction": format_access_restriction(subscriber.access_restriction),
        "barring": " ".join(name for name, bit in _BARRING.items() if bit in subscriber.barring),
        "roaming_allowed": "yes" if subscriber.roaming_allowed else "no", "allowed_plmns": " ".join(subscriber.allowed_plmns),
        "blocked_plmns": " ".join(subscriber.blocked_plmns), "zone_codes": " ".join(map(str, subscriber.zone_codes)),
        "apn_oi_replacement": subscriber.apn_oi_replacement or "", "rau_tau_timer_s": str(subscriber.rau_tau_timer_s),
        "ambr_ul": format_bit_rate(subscriber.ambr_ul_bps), "ambr_dl": format_bit_rate(subscriber.ambr_dl_bps),
        "default_context_id": str(subscriber.default_context_id), "apns": "; ".join(format_apn(apn) for apn in subscriber.apns),
    }
