"""Every NAS message with every value its table allows: round trips, pycrate as second opinion, and nothing but WireError for bad octets."""

from __future__ import annotations

import contextlib
import typing
from dataclasses import fields, replace
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS24007 import Type1TV, Type2, Type3TV, Type4TLV, Type6TLVE
from pycrate_mobile.TS24301_EMM import EMMTypeMOClasses, EMMTypeMTClasses
from pycrate_mobile.TS24301_ESM import ESMTypeClasses

from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.nas import bit_rate, coding, gprs_timer, mobile_identity, network_name, pdn, security, table, tracking_area, update

MESSAGES = nas.EMM_MESSAGES + nas.ESM_MESSAGES

digits = st.text("0123456789", min_size=1)
plmns = st.text("0123456789", min_size=5, max_size=6)
u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
tais = st.builds(nas.Tai, plmn=plmns, tac=u16)
algorithms = st.lists(st.integers(0, 7), unique=True).map(lambda numbers: tuple(sorted(numbers)))
uia = st.lists(st.integers(1, 7), unique=True).map(lambda numbers: tuple(sorted(numbers)))
imsis = st.builds(nas.ImsiIdentity, imsi=st.text("0123456789", min_size=6, max_size=15))
gutis = st.builds(nas.Guti, plmn=plmns, mme_group_id=u16, mme_code=u8, m_tmsi=u32)
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
EPS_QOS_CODES = [(basic, 0, 0) for basic in range(1, 256)] + [(254, extended, 0) for extended in range(1, 251)] + [
    (254, 250, second) for second in range(1, 247)
]
eps_qos_rates = st.sampled_from([bit_rate.decode_eps_qos_bit_rate(bit_rate.CodedBitRate(*octets)) for octets in EPS_QOS_CODES])
apn_ambr_rates = st.integers(0, 254).flatmap(lambda second: st.integers(0, 255).map(lambda mbps: second * 256_000 + mbps * 1_000))
apn_ambr_rates = apn_ambr_rates.map(lambda kbps: bit_rate.decode_apn_ambr_bit_rate(bit_rate.encode_apn_ambr_bit_rate(kbps)))

BY_CODING: dict[int, st.SearchStrategy[Any]] = {
    id(mobile_identity.EPS_MOBILE_IDENTITY): gutis | imsis | st.builds(nas.ImeiIdentity, imei=st.text("0123456789", min_size=15, max_size=15)),
    id(mobile_identity.MOBILE_IDENTITY): imsis
    | st.builds(nas.ImeisvIdentity, imeisv=st.text("0123456789", min_size=16, max_size=16))
    | st.builds(nas.TmsiIdentity, tmsi=u32),
    id(tracking_area.TAI): tais,
    id(tracking_area.TAI_LIST): st.one_of(
        st.builds(nas.NonConsecutiveTacs, plmn=plmns, tacs=st.lists(u16, min_size=1, max_size=16).map(tuple)),
        st.builds(nas.ConsecutiveTacs, plmn=plmns, first_tac=st.integers(0, 0xFFF0), count=st.integers(1, 16)),
        st.builds(nas.TaisOfSeveralPlmns, tais=st.lists(tais, min_size=1, max_size=16).map(tuple)),
    ).map(lambda partial: nas.TaiList(partial_lists=(partial,))),
    id(tracking_area.LOCATION_AREA_IDENTIFICATION): st.builds(nas.LocationAreaIdentification, plmn=plmns, lac=u16),
    id(tracking_area.PLMN_LIST): st.lists(plmns, min_size=1, max_size=15).map(tuple),
    id(gprs_timer.GPRS_TIMER): st.builds(nas.GprsTimer, unit=st.integers(0, 7), value=st.integers(0, 31)),
    id(gprs_timer.GPRS_TIMER_3): st.builds(nas.GprsTimer3, unit=st.integers(0, 7), value=st.integers(0, 31)),
    id(security.NAS_KEY_SET_IDENTIFIER): st.builds(nas.NasKeySetIdentifier, value=st.integers(0, 7), mapped=st.booleans()),
    id(security.NAS_SECURITY_ALGORITHMS): st.builds(nas.NasSecurityAlgorithms, ciphering=st.integers(0, 7), integrity=st.integers(0, 7)),
    id(security.UE_NETWORK_CAPABILITY): st.builds(nas.UeNetworkCapability, eea=algorithms, eia=algorithms)
    | st.builds(nas.UeNetworkCapability, eea=algorithms, eia=algorithms, uea=algorithms, uia=uia, ucs2=st.booleans(), further=st.binary(max_size=9)),
    id(security.UE_SECURITY_CAPABILITY): st.builds(nas.UeSecurityCapability, eea=algorithms, eia=algorithms)
    | st.builds(nas.UeSecurityCapability, eea=algorithms, eia=algorithms, uea=algorithms, uia=uia, gea=st.none() | uia),
    id(network_name.NETWORK_NAME): st.builds(
        nas.NetworkName, text=st.text("epclab ÄΔ@", max_size=20) | st.text("Łódź€", min_size=1, max_size=20), add_country_initials=st.booleans()
    ),
    id(network_name.TIME_ZONE): st.integers(-79, 79),
    id(network_name.UNIVERSAL_TIME): st.builds(
        nas.UniversalTime,
        **{name: st.integers(0, 99) for name in ("year", "month", "day", "hour", "minute", "second")},
        time_zone_quarters=st.integers(-79, 79),
    ),
    id(update.DETACH_TYPE): st.builds(nas.DetachType, type_of_detach=st.integers(0, 7), switch_off=st.booleans()),
    id(update.EPS_UPDATE_TYPE): st.builds(nas.EpsUpdateType, value=st.integers(0, 7), active=st.booleans()),
    id(update.CONTROL_PLANE_SERVICE_TYPE): st.builds(nas.ControlPlaneServiceType, value=st.integers(0, 7), active=st.booleans()),
    id(update.EPS_BEARER_CONTEXT_STATUS): st.lists(st.integers(5, 15), unique=True).map(lambda ebis: tuple(sorted(ebis))),
    id(bit_rate.EPS_QOS): st.builds(nas.EpsQos, qci=u8)
    | st.builds(
        nas.EpsQos,
        qci=u8,
        maximum_bit_rate_uplink_kbps=eps_qos_rates,
        maximum_bit_rate_downlink_kbps=eps_qos_rates,
        guaranteed_bit_rate_uplink_kbps=eps_qos_rates,
        guaranteed_bit_rate_downlink_kbps=eps_qos_rates,
    ),
    id(bit_rate.APN_AMBR): st.builds(nas.ApnAmbr, downlink_kbps=apn_ambr_rates, uplink_kbps=apn_ambr_rates),
    id(pdn.PDN_ADDRESS): st.one_of(
        st.builds(nas.PdnAddress, pdn_type=st.just(nas.PdnType.IPV4), ipv4_address=st.builds(IPv4Address, u32)),
        st.builds(nas.PdnAddress, pdn_type=st.just(nas.PdnType.IPV6), ipv6_interface_identifier=st.binary(min_size=8, max_size=8)),
        st.builds(
            nas.PdnAddress,
            pdn_type=st.just(nas.PdnType.IPV4V6),
            ipv4_address=st.builds(IPv4Address, u32),
            ipv6_interface_identifier=st.binary(min_size=8, max_size=8),
        ),
        st.just(nas.PdnAddress(pdn_type=nas.PdnType.NON_IP)),
    ),
    id(pdn.ACCESS_POINT_NAME): st.lists(labels, min_size=1, max_size=4).map(".".join),
    id(coding.NIBBLE): st.integers(0, 15),
    id(coding.OCTET): u8,
}


def _accepted(codec: coding.Coding[Any], octets: bytes) -> bool:
    try:
        codec.decode(octets)
    except WireError:
        return False
    return True


def _values(row: Any) -> st.SearchStrategy[Any]:
    codec = row.coding
    if id(codec) in BY_CODING:
        return BY_CODING[id(codec)]
    if isinstance(codec, coding.HalfCoding):
        return st.sampled_from(codec.values)
    length = getattr(row, "length", None)
    if length is not None:
        return st.binary(min_size=length, max_size=length).map(codec.decode)
    lengths = [size for size in range(1, 40) if _accepted(codec, bytes(size))]
    return st.sampled_from(lengths).flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(codec.decode)


def messages(message: type[nas.NasMessage], *, complete: bool = False) -> st.SearchStrategy[nas.NasMessage]:
    """Any value of the message: mandatory elements always, optional ones sometimes, or always in a ``complete`` one."""
    hints = typing.get_type_hints(message, include_extras=True)
    known: dict[str, st.SearchStrategy[Any]] = {}
    if issubclass(message, nas.EsmMessage):
        known = {"eps_bearer_identity": st.integers(0, 15), "procedure_transaction_identity": u8}
    optional = {}
    for field in fields(message):
        row = getattr(hints[field.name], "__metadata__", (None,))[0]
        if isinstance(row, table.OptionalFormat):
            optional[field.name] = _values(row)
        elif row is not None:
            known[field.name] = _values(row)
    if complete:
        known, optional = known | optional, {}
    return st.fixed_dictionaries(known, optional=optional).map(lambda values: message(**values))


ANY_MESSAGE: st.SearchStrategy[Any] = st.sampled_from(MESSAGES).flatmap(messages)
DOWNLINK = (nas.DetachRequestToUe,)
RENUMBERED_SINCE = {("AttachRequest", "UERadioCapIDAvail"), ("SecurityModeCommand", "UERadioCapIDReq"), ("ServiceReject", "T3346")}
PROFILE = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROFILE
@given(ANY_MESSAGE)
def test_round_trip(message: Any) -> None:
    octets = nas.encode(message)
    assert nas.decode(octets, uplink=not isinstance(message, DOWNLINK)) == message


def of_pycrate(message: type[nas.NasMessage]) -> Any:
    """An empty message of the same type."""
    classes = ESMTypeClasses if issubclass(message, nas.EsmMessage) else EMMTypeMTClasses if message in DOWNLINK else EMMTypeMOClasses
    return classes[message.message_type]()


@settings(PROFILE, max_examples=600)
@given(ANY_MESSAGE)
def test_pycrate_reads_and_writes_the_same_octets(message: Any) -> None:
    """Opaque optional elements are left out: pycrate looks into them, and random octets are no emergency number list."""
    hints = typing.get_type_hints(type(message))
    message = replace(message, **{name: None for name, hint in hints.items() if hint == bytes | None or name == "t3346"})
    octets = nas.encode(message)
    theirs = of_pycrate(type(message))
    theirs.from_bytes(octets)
    assert theirs.to_bytes().hex() == octets.hex()


@pytest.mark.parametrize("message", MESSAGES, ids=[message.__name__ for message in MESSAGES])
def test_pycrate_has_the_same_optional_elements_in_the_same_order(message: type[nas.NasMessage]) -> None:
    theirs = of_pycrate(message)
    hints = typing.get_type_hints(message, include_extras=True)
    rows = [getattr(hint, "__metadata__", (None,))[0] for hint in hints.values()]
    ours = [row.iei for row in rows if isinstance(row, table.OptionalFormat)]
    ie_names = [element for element in theirs if isinstance(element, (Type1TV, Type2, Type3TV, Type4TLV, Type6TLVE))]
    tags = [element["T"].get_val() for element in ie_names if (message.__name__, element._name) not in RENUMBERED_SINCE]
    assert [iei for iei in ours if iei in tags] == tags


@pytest.mark.parametrize("message", MESSAGES, ids=[message.__name__ for message in MESSAGES])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_round_trips_with_all_its_elements(message: type[nas.NasMessage], data: st.DataObject) -> None:
    complete: Any = data.draw(messages(message, complete=True))
    assert nas.decode(nas.encode(complete), uplink=message not in DOWNLINK) == complete


@PROFILE
@given(ANY_MESSAGE, st.lists(st.tuples(u16, u8), min_size=1, max_size=4), st.integers(0, 40), st.sampled_from([True, False, None]))
def test_mutated_octets_decode_or_raise_wire_error(message: Any, changes: list[tuple[int, int]], cut: int, uplink: bool | None) -> None:
    octets = bytearray(nas.encode(message))
    for position, value in changes:
        octets[position % len(octets)] = value
    survivor = bytes(octets[: max(0, len(octets) - cut)] if cut < 30 else octets)
    try:
        decoded = nas.decode(survivor, uplink=uplink)
    except nas.NasSyntaxError:
        return
    again = nas.encode(decoded)
    assert nas.decode(again, uplink=uplink) == decoded      # what was understood survives


@PROFILE
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x07", b"\x02\x00", b"\x17", b"\x02\x00\xd0"]))
def test_random_octets_decode_or_raise_wire_error(octets: bytes, prefix: bytes) -> None:
    try:
        nas.decode(prefix + octets)
    except nas.NasSyntaxError:
        pass


@PROFILE
@given(st.binary(max_size=60))
def test_options_and_ipcp_decode_or_raise_wire_error(octets: bytes) -> None:
    with contextlib.suppress(WireError):
        options = nas.decode_protocol_configuration_options(octets)
        assert nas.decode_protocol_configuration_options(nas.encode_protocol_configuration_options(options)) == options
    with contextlib.suppress(WireError):
        packet = nas.decode_ipcp(octets)
        assert nas.decode_ipcp(nas.encode_ipcp(packet)) == packet


@given(st.integers(0, 10_000_000))
def test_eps_qos_bit_rate_is_the_nearest_step_below(kbps: int) -> None:
    coded = nas.decode_eps_qos_bit_rate(nas.encode_eps_qos_bit_rate(kbps))
    assert coded <= kbps
    assert kbps - coded <= max(8, kbps * 0.12)


@given(st.integers(0, 65_280_000))
def test_apn_ambr_bit_rate_is_the_nearest_step_below(kbps: int) -> None:
    coded = nas.decode_apn_ambr_bit_rate(nas.encode_apn_ambr_bit_rate(kbps))
    assert coded <= kbps
    assert kbps - coded <= max(8, kbps * 0.12)


def test_unknown_enumerated_values_stay_numbers() -> None:
    decoded = nas.decode(bytes.fromhex("0760de"))
    assert isinstance(decoded, nas.EmmStatus)
    assert decoded.emm_cause == 222
    assert not isinstance(decoded.emm_cause, IntEnum)
