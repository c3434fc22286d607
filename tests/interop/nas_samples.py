"""Random but valid EPS NAS messages: every element holds what its specification allows, also where the codec hands octets through."""

from __future__ import annotations

import dataclasses
import random
import typing
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

from epc.wire import nas
from epc.wire.nas import bit_rate, coding, esm, gprs_timer, mobile_identity, network_name, pdn, security, table, tracking_area, update

MESSAGES = nas.EMM_MESSAGES + nas.ESM_MESSAGES
Make = Callable[["NasValues"], Any]


def _rows_of(message: type[nas.NasMessage]) -> tuple[tuple[str, Any], ...]:
    """The rows of the message's table: names and formats, in order."""
    hints = typing.get_type_hints(message, include_extras=True)
    annotated = [(field.name, getattr(hints[field.name], "__metadata__", ())) for field in dataclasses.fields(message)]
    return tuple([(name, metadata[0]) for name, metadata in annotated if metadata])


ROWS = {message: _rows_of(message) for message in MESSAGES}


class NasValues:
    """A source of values; the same ``seed`` gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    # ------------------------------------------------------------------ simple values

    def number(self, low: int, high: int) -> int:
        return self.random.choice((low, high, self.random.randint(low, high)))

    def octets(self, low: int, high: int | None = None) -> bytes:
        return self.random.randbytes(self.random.randint(low, low if high is None else high))

    def digits(self, low: int, high: int) -> str:
        return "".join(self.random.choice("0123456789") for _ in range(self.random.randint(low, high)))

    def some(self, values: typing.Sequence[int]) -> tuple[int, ...]:
        return tuple(sorted(self.random.sample(values, self.random.randint(0, len(values)))))

    def chance(self) -> bool:
        return self.random.random() < 0.5

    def plmn(self) -> str:
        return self.random.choice(("00101", "21407", "310410", "901070"))

    def u8(self) -> int:
        return self.number(0, 0xFF)

    def u16(self) -> int:
        return self.number(0, 0xFFFF)

    def u32(self) -> int:
        return self.number(0, 0xFFFFFFFF)

    # ------------------------------------------------------------------ messages

    def message(self, message: type[nas.EmmMessage | nas.EsmMessage], *, optional: float) -> Any:
        """A ``message`` with its mandatory elements, and each optional one with probability ``optional``."""
        values: dict[str, Any] = {}
        if issubclass(message, nas.EsmMessage):
            values = {"eps_bearer_identity": self.number(5, 15), "procedure_transaction_identity": self.number(1, 254)}
        for name, row in ROWS[message]:
            if not isinstance(row, table.OptionalFormat) or self.random.random() < optional:
                values[name] = self.value(name, row)
        return message(**values)

    def value(self, name: str, row: Any) -> Any:
        if name in BY_NAME:
            return BY_NAME[name](self)
        if id(row.coding) in BY_CODING:
            return BY_CODING[id(row.coding)](self)
        if isinstance(row.coding, coding.HalfCoding):
            return self.random.choice(row.coding.values)
        if isinstance(row, (table.V, table.TV)) and row.coding is coding.OCTETS:
            return self.octets(row.length)
        if isinstance(row, (table.V, table.TV)) or row.coding is esm.NOTIFICATION_INDICATOR:
            return row.coding.decode(self.octets(1))
        raise LookupError(f"no values for {name}")

    # ------------------------------------------------------------------ elements of several parts

    def guti(self) -> nas.Guti:
        return nas.Guti(plmn=self.plmn(), mme_group_id=self.u16(), mme_code=self.u8(), m_tmsi=self.u32())

    def imsi(self) -> nas.ImsiIdentity:
        return nas.ImsiIdentity(imsi=self.plmn() + self.digits(9, 9))

    def eps_mobile_identity(self) -> nas.EpsMobileIdentity:
        return self.random.choice((self.guti(), self.imsi(), nas.ImeiIdentity(imei=self.digits(15, 15))))

    def mobile_identity(self) -> nas.MobileIdentity:
        return self.random.choice((
            self.imsi(), nas.ImeiIdentity(imei=self.digits(15, 15)), nas.ImeisvIdentity(imeisv=self.digits(16, 16)), self.tmsi()))

    def tmsi(self) -> nas.TmsiIdentity:
        return nas.TmsiIdentity(tmsi=self.u32())

    def tai(self) -> nas.Tai:
        return nas.Tai(plmn=self.plmn(), tac=self.u16())

    def tai_list(self) -> nas.TaiList:
        count = self.number(1, 5)
        return nas.TaiList(partial_lists=self.random.choice((
            (nas.NonConsecutiveTacs(plmn=self.plmn(), tacs=tuple(self.u16() for _ in range(count))),),
            (nas.ConsecutiveTacs(plmn=self.plmn(), first_tac=self.number(0, 0xFF00), count=count),),
            (nas.TaisOfSeveralPlmns(tais=tuple(self.tai() for _ in range(count))),),
            (nas.NonConsecutiveTacs(plmn=self.plmn(), tacs=(self.u16(),)), nas.TaisOfSeveralPlmns(tais=(self.tai(), self.tai()))),
        )))

    def ue_network_capability(self) -> nas.UeNetworkCapability:
        eea, eia, uea, uia = self.some(range(8)), self.some(range(8)), self.some(range(8)), self.some(range(1, 8))
        return self.random.choice((
            nas.UeNetworkCapability(eea=eea, eia=eia),
            nas.UeNetworkCapability(eea=eea, eia=eia, uea=uea, uia=uia, ucs2=self.chance(), further=self.octets(0, 3))))

    def ue_security_capability(self) -> nas.UeSecurityCapability:
        eea, eia, uea, uia = self.some(range(8)), self.some(range(8)), self.some(range(8)), self.some(range(1, 8))
        return self.random.choice((
            nas.UeSecurityCapability(eea=eea, eia=eia), nas.UeSecurityCapability(eea=eea, eia=eia, uea=uea, uia=uia),
            nas.UeSecurityCapability(eea=eea, eia=eia, uea=uea, uia=uia, gea=self.some(range(1, 8)))))

    def universal_time(self) -> nas.UniversalTime:
        return nas.UniversalTime(
            year=self.number(0, 99), month=self.number(1, 12), day=self.number(1, 28), hour=self.number(0, 23), minute=self.number(0, 59),
            second=self.number(0, 59), time_zone_quarters=self.number(-48, 56))

    def eps_qos(self) -> nas.EpsQos:
        """Rates that the element's steps hold."""
        qci = self.random.choice((1, 5, 9, 65, 70, 128))
        if self.chance():
            return nas.EpsQos(qci=qci)
        codes = self.random.choice(([(self.number(1, 255), 0, 0)], [(254, self.number(1, 250), 0)], [(254, 250, self.number(1, 246))]))
        rates = [bit_rate.decode_eps_qos_bit_rate(bit_rate.CodedBitRate(*self.random.choice(codes))) for _ in range(4)]
        return nas.EpsQos(qci=qci, maximum_bit_rate_uplink_kbps=rates[0], maximum_bit_rate_downlink_kbps=rates[1],
                          guaranteed_bit_rate_uplink_kbps=rates[2], guaranteed_bit_rate_downlink_kbps=rates[3])

    def apn_ambr(self) -> nas.ApnAmbr:
        rates = (64, 8640, 100_000, 256_000, 1_000_000, 65_000_000)
        return nas.ApnAmbr(downlink_kbps=self.random.choice(rates), uplink_kbps=self.random.choice(rates))

    def pdn_address(self) -> nas.PdnAddress:
        ipv4, identifier = IPv4Address(self.u32()), self.octets(8)
        return self.random.choice((
            nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=ipv4),
            nas.PdnAddress(pdn_type=nas.PdnType.IPV6, ipv6_interface_identifier=identifier),
            nas.PdnAddress(pdn_type=nas.PdnType.IPV4V6, ipv4_address=ipv4, ipv6_interface_identifier=identifier),
            nas.PdnAddress(pdn_type=nas.PdnType.NON_IP)))

    def apn(self) -> str:
        return self.random.choice(("internet", "ims", "a.b-1.example", "internet.mnc001.mcc001.gprs"))

    def network_name(self) -> nas.NetworkName:
        return nas.NetworkName(text=self.random.choice(("epclab", "Ä Å @", "Łódź 5€", "x" * 8)), add_country_initials=self.chance())

    # ------------------------------------------------------------------ elements that the codec hands through

    def protocol_configuration_options(self) -> bytes:
        """TS 24.008 clause 10.5.6.3."""
        ipcp = nas.encode_ipcp(nas.IpcpPacket(code=1, identifier=self.u8(), options=(
            nas.IpcpOption(type=129, data=self.octets(4)), nas.IpcpOption(type=131, data=self.octets(4)))))
        known = (
            nas.Container(identifier=nas.ContainerId.IPCP, contents=ipcp),
            nas.Container(identifier=nas.ContainerId.DNS_SERVER_IPV4_ADDRESS, contents=self.octets(4)),
            nas.Container(identifier=nas.ContainerId.DNS_SERVER_IPV6_ADDRESS, contents=self.octets(16)),
            nas.Container(identifier=nas.ContainerId.P_CSCF_IPV4_ADDRESS, contents=self.octets(4)),
            nas.Container(identifier=nas.ContainerId.IPV4_LINK_MTU, contents=(1400).to_bytes(2, "big")),
            nas.Container(identifier=nas.ContainerId.IM_CN_SUBSYSTEM_SIGNALING_FLAG),
            nas.Container(identifier=nas.ContainerId.IP_ADDRESS_ALLOCATION_VIA_NAS_SIGNALLING),
        )
        containers = tuple(self.random.sample(known, self.random.randint(0, len(known))))
        return nas.encode_protocol_configuration_options(nas.ProtocolConfigurationOptions(containers=containers))

    def traffic_flow_template(self) -> bytes:
        """TS 24.008 clause 10.5.6.12: create a new TFT of 1 to 3 packet filters."""
        components = (
            b"\x10" + self.octets(4) + bytes((255, 255, 255, 0)),       # IPv4 remote address and mask
            b"\x11" + self.octets(4) + bytes((255, 255, 255, 255)),     # IPv4 local address and mask
            b"\x30" + bytes((self.random.choice((6, 17)),)),            # protocol
            b"\x40" + self.octets(2),                                   # local port
            b"\x51" + b"\x00\x50" + b"\x00\x60",                        # remote port range
            b"\x60" + self.octets(4),                                   # security parameter index
            b"\x70" + self.octets(2),                                   # type of service and mask
        )
        filters = []
        for identifier in range(self.random.randint(1, 3)):
            contents = b"".join(self.random.sample(components, self.random.randint(1, 3)))
            direction = self.random.choice((1, 2, 3)) << 4
            filters.append(bytes((direction | identifier, self.u8(), len(contents))) + contents)
        return bytes((1 << 5 | len(filters),)) + b"".join(filters)

    def esm_container(self) -> bytes:
        if self.chance():
            return nas.encode(self.message(nas.PdnConnectivityRequest, optional=0.3))
        return nas.encode(self.message(nas.ActivateDefaultEpsBearerContextRequest, optional=0.3))

    def sms(self) -> bytes:
        """CP-ACK, CP-ERROR and a CP-DATA that holds an RP-ACK: TS 24.011 clause 7."""
        return self.random.choice((b"\x09\x04", b"\x89\x04", b"\x09\x10\x11", b"\x89\x01\x02\x02" + bytes((self.u8(),))))

    def ciphering_key_data(self) -> bytes:
        """TS 24.301 clause 9.9.3.56: one data set, valid in one tracking area."""
        tai_list = b"\x00" + bytes.fromhex("00f110") + self.octets(2)
        return (
            self.octets(2) + self.octets(16)                                    # set identifier, key
            + b"\x01" + self.octets(1) + self.octets(4)                         # c0, positioning SIB types
            + bytes.fromhex("6210211200") + self.octets(2)                      # start and duration of validity
            + bytes((len(tai_list),)) + tai_list)

    def remote_ue_contexts(self) -> bytes:
        """TS 24.301 clause 9.9.4.20: one remote UE, known by its IMSI, with an IPv4 address and a UDP port."""
        identity = bytes.fromhex("0a10101032547698")
        context = b"\x01" + bytes((len(identity), *identity)) + b"\x01" + self.octets(4) + self.octets(2)
        return b"\x01" + bytes((len(context),)) + context

    def old_quality_of_service(self) -> bytes:
        """TS 24.008 clause 10.5.6.5, of the first release with 11 octets."""
        return bytes.fromhex("23921f9196fefe74fe10ff")


BY_CODING: dict[int, Make] = {
    id(mobile_identity.EPS_MOBILE_IDENTITY): NasValues.eps_mobile_identity,
    id(mobile_identity.MOBILE_IDENTITY): NasValues.mobile_identity,
    id(tracking_area.TAI): NasValues.tai,
    id(tracking_area.TAI_LIST): NasValues.tai_list,
    id(tracking_area.LOCATION_AREA_IDENTIFICATION): lambda v: nas.LocationAreaIdentification(plmn=v.plmn(), lac=v.u16()),
    id(tracking_area.PLMN_LIST): lambda v: tuple(v.plmn() for _ in range(v.number(1, 15))),
    id(gprs_timer.GPRS_TIMER): lambda v: nas.GprsTimer(unit=v.random.choice((0, 1, 2, 7)), value=v.number(0, 31)),
    id(gprs_timer.GPRS_TIMER_3): lambda v: nas.GprsTimer3(unit=v.number(0, 7), value=v.number(0, 31)),
    id(security.NAS_KEY_SET_IDENTIFIER): lambda v: nas.NasKeySetIdentifier(value=v.number(0, 7), mapped=v.chance()),
    id(security.NAS_SECURITY_ALGORITHMS): lambda v: nas.NasSecurityAlgorithms(ciphering=v.number(0, 7), integrity=v.number(0, 7)),
    id(security.UE_NETWORK_CAPABILITY): NasValues.ue_network_capability,
    id(security.UE_SECURITY_CAPABILITY): NasValues.ue_security_capability,
    id(network_name.NETWORK_NAME): NasValues.network_name,
    id(network_name.TIME_ZONE): lambda v: v.number(-48, 56),
    id(network_name.UNIVERSAL_TIME): NasValues.universal_time,
    id(update.DETACH_TYPE): lambda v: nas.DetachType(type_of_detach=v.number(1, 3), switch_off=v.chance()),
    id(update.EPS_BEARER_CONTEXT_STATUS): lambda v: v.some(range(5, 16)),
    id(bit_rate.EPS_QOS): NasValues.eps_qos,
    id(bit_rate.APN_AMBR): NasValues.apn_ambr,
    id(pdn.PDN_ADDRESS): NasValues.pdn_address,
    id(pdn.ACCESS_POINT_NAME): NasValues.apn,
}

BY_NAME: dict[str, Make] = {
    "guti": NasValues.guti,
    "m_tmsi": NasValues.tmsi,
    "imeisv": lambda v: nas.ImeisvIdentity(imeisv=v.digits(16, 16)),
    "autn": lambda v: v.octets(16),
    "res": lambda v: v.octets(4, 16),
    "auts": lambda v: v.octets(14),
    "hash_mme": lambda v: v.octets(8),
    "esm_message_container": NasValues.esm_container,
    "nas_message_container": NasValues.sms,
    "replayed_nas_message_container": lambda v: nas.encode(v.message(nas.AttachRequest, optional=0.0)),
    "generic_message_container": lambda v: (0b01001 << 11 | v.u8() << 3).to_bytes(2, "big"),   # LPP: end of transaction, sequence number
    "generic_message_container_type": lambda v: nas.GenericMessageContainerType.LPP_MESSAGE_CONTAINER,
    "paging_identity": lambda v: v.random.choice(tuple(nas.PagingIdentity)),
    "additional_information": lambda v: v.octets(4),
    "ms_network_capability": lambda v: v.octets(2, 4),
    "mobile_station_classmark_2": lambda v: bytes.fromhex("5758a6"),
    "mobile_station_classmark_3": lambda v: bytes.fromhex("601404ef65233b8878d29000"),
    "supported_codecs": lambda v: bytes.fromhex("0402600400021f02"),             # TS 24.008 clause 10.5.4.32: system, length, codecs
    "voice_domain_preference_and_ue_usage_setting": lambda v: bytes((v.number(0, 7),)),
    "tmsi_based_nri_container": lambda v: bytes((v.u8(), v.number(0, 3) << 6)),
    "extended_drx_parameters": lambda v: v.octets(1),
    "ue_additional_security_capability": lambda v: v.octets(4),
    "replayed_ue_additional_security_capability": lambda v: v.octets(4),
    "ue_status": lambda v: bytes((v.number(0, 3),)),
    "n1_ue_network_capability": lambda v: bytes((v.number(0, 15),)),
    "ue_radio_capability_id_availability": lambda v: bytes((v.number(0, 1),)),
    "ue_radio_capability_id_request": lambda v: bytes((v.number(0, 1),)),
    "requested_wus_assistance_information": lambda v: bytes((v.number(0, 31),)),
    "negotiated_wus_assistance_information": lambda v: bytes((v.number(0, 31),)),
    "drx_parameter_in_nb_s1_mode": lambda v: bytes((v.number(0, 5),)),
    "negotiated_drx_parameter_in_nb_s1_mode": lambda v: bytes((v.number(0, 5),)),
    "requested_imsi_offset": lambda v: v.octets(2),
    "negotiated_imsi_offset": lambda v: v.octets(2),
    "emergency_number_list": lambda v: bytes.fromhex("031f11f2"),                # TS 24.008 clause 10.5.3.13: 112
    "extended_emergency_number_list": lambda v: bytes.fromhex("00" "0211f2" "00"),
    "eps_network_feature_support": lambda v: v.octets(1, 2),
    "dcn_id": lambda v: v.octets(2),
    "ciphering_key_data": NasValues.ciphering_key_data,
    "ue_radio_capability_id": lambda v: bytes.fromhex("1032547698"),
    "header_compression_configuration_status": lambda v: v.octets(2),
    "network_daylight_saving_time": lambda v: bytes((v.number(0, 2),)),
    "cli": lambda v: bytes.fromhex("a12143f5"),
    "lcs_client_identity": lambda v: bytes.fromhex("3003800101"),               # LCS-ClientID of TS 29.002: type value-added services
    "protocol_configuration_options": NasValues.protocol_configuration_options,
    "extended_protocol_configuration_options": NasValues.protocol_configuration_options,
    "tft": NasValues.traffic_flow_template,
    "traffic_flow_aggregate": NasValues.traffic_flow_template,
    "transaction_identifier": lambda v: v.random.choice((b"\x50", b"\x70\x87")),
    "negotiated_qos": NasValues.old_quality_of_service,
    "new_qos": NasValues.old_quality_of_service,
    "packet_flow_identifier": lambda v: bytes((v.number(8, 127),)),
    "nbifom_container": lambda v: bytes.fromhex("010101"),
    "header_compression_configuration": lambda v: bytes.fromhex("020010"),
    "serving_plmn_rate_control": lambda v: v.octets(2),
    "extended_apn_ambr": lambda v: v.octets(6),
    "extended_eps_qos": lambda v: v.octets(10),
    "re_attempt_indicator": lambda v: bytes((v.number(0, 3),)),
    "user_data_container": lambda v: v.octets(1, 40),
    "remote_ue_context_connected": NasValues.remote_ue_contexts,
    "remote_ue_context_disconnected": NasValues.remote_ue_contexts,
    "prose_key_management_function_address": lambda v: b"\x01" + v.octets(4),
}


def samples(seed: int, random_variants: int) -> Iterator[Any]:
    """Every message with its mandatory elements only, with all elements, and with a random choice of them."""
    values = NasValues(seed)
    for message in MESSAGES:
        for optional in (0.0, 1.0, *[0.4] * random_variants):
            yield values.message(message, optional=optional)
