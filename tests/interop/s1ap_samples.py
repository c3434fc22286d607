"""Random but valid S1AP messages: values that the schema allows, and containers that hold what they are named after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from epc.wire import nas, s1ap
from epc.wire.aper.build import Type
from epc.wire.aper.values import BitString, PrivateIE
from epc.wire.identity import encode_tbcd
from epc.wire.s1ap.catalogue import look_up
from epc.wire.s1ap.message import Message
from epc.wire.s1ap.naming import class_name
from epc.wire.s1ap.tables import MESSAGES, TYPES
from tests.interop.nas_samples import NasValues

DEEP = 6                # below this, lists are as short as they may be and optional elements are left out
NEEDS = {"warning_message_contents": "data_coding_scheme"}
LONG = 3                # elements in a list, beyond those that it must have


class S1apValues(NasValues):
    """A source of values; the same ``seed`` gives the same ones."""

    def s1ap_message(self, name: str, *, optional: float) -> Message:
        """A message with its mandatory elements, and each other one with probability ``optional``."""
        rows = MESSAGES[name][3]
        make: Callable[..., Message] = look_up(name)
        if rows is None:
            return make(private_ies=(PrivateIE(self.u16(), "ignore", self.octets(1, 20)),))
        chosen = {field for _, _, presence, field, _ in rows if presence == "mandatory" or self.random.random() < optional}
        chosen |= {needed for field, needed in NEEDS.items() if field in chosen}
        return make(**{field: self.field(field, kind, 0, optional) for _, _, _, field, kind in rows if field in chosen})

    def field(self, field: str, kind: Type, depth: int, optional: float) -> Any:
        if field in BY_FIELD:
            return BY_FIELD[field](self)
        return self.of_type(kind, depth, optional)

    def of_type(self, kind: Type, depth: int, optional: float, name: str = "") -> Any:
        if isinstance(kind, str):
            return self.of_type(TYPES[kind], depth + 1, optional, kind)
        if depth > DEEP:
            optional = 0.0
        match kind:
            case ("int", int(low), int(high), *_):
                return self.number(low, high)
            case ("int", *_):
                return self.number(0, 1 << 20)
            case ("enum", root, added):
                return self.random.choice(root + (added or ()))
            case ("bool",):
                return self.chance()
            case ("null",):
                return None
            case ("bits", low, high, _):
                nbits = self.size(low, high)
                return BitString(self.random.getrandbits(nbits) if nbits else 0, nbits)
            case ("octets", low, high, _):
                return self.octets(self.size(low, high))
            case ("text", _, low, high, _):
                return "".join(self.random.choice("ABCdef019") for _ in range(self.size(low, high)))
            case ("list", low, high, _, element):
                count = low or 0 if depth > DEEP else self.random.randint(low or 0, min((low or 0) + LONG, high or LONG))
                return tuple(self.of_type(element, depth + 1, optional) for _ in range(count))
            case ("single", rows):
                return self.field(rows[0][3], rows[0][4], depth + 1, optional)
            case ("choice", _, root, added):
                usable = [each for each in root + added if each[1] != ("single", ())]
                alternative, described = self.random.choice(usable)
                return look_up(class_name(name))(alternative, self.field(alternative, described, depth + 1, optional))
            case ("seq", _, components):
                return look_up(class_name(name))(**self.components(components, depth, optional))
        raise LookupError(f"no values for {kind}")

    def components(self, components: Any, depth: int, optional: float) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field, is_optional, described in components:
            if isinstance(described, tuple) and described[0] == "extensions":
                for _, _, presence, extension, inner in described[1]:
                    if presence == "mandatory" or self.random.random() < optional:
                        values[extension] = self.field(extension, inner, depth + 1, optional)
            elif not is_optional or self.random.random() < optional:
                values[field] = self.field(field, described, depth + 1, optional)
        return values

    def size(self, low: int | None, high: int | None) -> int:
        low = low or 0
        return self.random.randint(low, low + 16 if high is None else min(high, low + 16))

    # ------------------------------------------------------------------ containers

    def plmn_identity(self) -> bytes:
        return s1ap.encode_plmn_identity(self.plmn())

    def plmns(self) -> tuple[bytes, ...]:
        return tuple(self.plmn_identity() for _ in range(self.number(1, 3)))

    def nas_pdu(self) -> bytes:
        return nas.encode(self.message(self.random.choice((nas.AttachRequest, nas.IdentityResponse, nas.AuthenticationRequest)), optional=0.3))

    def transport_layer_address(self) -> BitString:
        return BitString.of(self.octets(self.random.choice((4, 16, 20))))

    def source_to_target(self) -> bytes:
        container = look_up("SourceeNBToTargeteNBTransparentContainer")
        kind = TYPES["SourceeNB-ToTargeteNB-TransparentContainer"]
        assert kind[0] == "seq"
        values = self.components(kind[2], DEEP, 0.0) | {"rrc_container": HANDOVER_PREPARATION_INFORMATION}
        return s1ap.encode_type("SourceeNB-ToTargeteNB-TransparentContainer", container(**values))

    def target_to_source(self) -> bytes:
        container = look_up("TargeteNBToSourceeNBTransparentContainer")
        return s1ap.encode_type("TargeteNB-ToSourceeNB-TransparentContainer", container(rrc_container=HANDOVER_COMMAND))

    def initial_ue_message(self) -> bytes:
        return s1ap.encode(self.s1ap_message("InitialUEMessage", optional=0.0))

    def warning_message(self) -> bytes:
        """TS 23.041 clause 9.4.2.2.5: number of pages, then 82 octets and the length of each."""
        pages = self.random.randint(1, 3)
        return bytes((pages,)) + b"".join(self.octets(82) + b"\x52" for _ in range(pages))


# Made with pycrate from TS 36.331, TS 38.331 and TS 36.455: the shortest values of their types
UE_RADIO_ACCESS_CAPABILITY_INFORMATION = bytes.fromhex("005001007000000000000800")
UE_RADIO_PAGING_INFORMATION = bytes.fromhex("000800")
NR_UE_RADIO_ACCESS_CAPABILITY_INFORMATION = bytes.fromhex("000800")
NR_UE_RADIO_PAGING_INFORMATION = bytes.fromhex("08010004d0")
HANDOVER_PREPARATION_INFORMATION = bytes.fromhex("00100700000000000080")
HANDOVER_COMMAND = bytes.fromhex("0019000000")
RLF_REPORT = bytes.fromhex("0780")
RLF_REPORT_FOR_EXTENDED_BANDS = bytes.fromhex("1045c0")
VISITED_CELL_INFO_LIST = bytes.fromhex("000280")
UE_PAGING_COVERAGE_INFORMATION = bytes.fromhex("0800")
LAST_VISITED_UTRAN_CELL = bytes.fromhex("0012f470004d00000a")
LAST_VISITED_NG_RAN_CELL = bytes.fromhex("0012f470000000005080000a")
NG_RAN_MDT_CONFIGURATION = bytes.fromhex("00")
NG_RAN_SON_CONFIGURATION_TRANSFER = bytes.fromhex("000012f4700000001412f4700000010012f4700000001412f47000000100")
E_CID_MEASUREMENT_TERMINATION = bytes.fromhex("00050000010d00000200020001000006000108")

# TS 48.018 clause 10.6.2: from one GERAN cell to another, application network assisted cell change
RAN_INFORMATION_REQUEST = bytes.fromhex(
    "71" "548900" "12f470000101" "0001" "548900" "12f470000101" "0002" "5799" "4b8101" "4c8400000001" "4f8100" "558101" "4d88" "12f470000101" "0003")

BY_FIELD: dict[str, Callable[[S1apValues], Any]] = {
    **dict.fromkeys(("plmn_identity", "serving_plmn", "last_ng_ran_plmn_identity"), S1apValues.plmn_identity),
    **dict.fromkeys((
        "broadcast_plmns", "equivalent_plmns", "served_plmns", "management_based_mdt_plmn_list", "signalling_based_mdt_plmn_list",
        "plmn_list_for_qmc"), S1apValues.plmns),
    **dict.fromkeys((
        "transport_layer_address", "dl_transport_layer_address", "ul_transport_layer_address", "gw_transport_layer_address", "ipsec_tla",
        "sipto_l_gw_transport_layer_address", "source_node_transport_layer_address", "source_transport_layer_address",
        "trace_collection_entity_ip_address"), S1apValues.transport_layer_address),
    **dict.fromkeys((
        "enb_indirect_x2_transport_layer_addresses", "enb_x2_transport_layer_addresses", "gtp_tlas"),
        lambda v: tuple(v.transport_layer_address() for _ in range(v.number(1, 2)))),
    "nas_pdu": S1apValues.nas_pdu,
    "handover_type": lambda v: "intralte",          # decides how tshark reads the transparent containers
    "source_to_target_transparent_container": S1apValues.source_to_target,
    "target_to_source_transparent_container": S1apValues.target_to_source,
    "s1_message": S1apValues.initial_ue_message,
    "ue_radio_capability": lambda v: UE_RADIO_ACCESS_CAPABILITY_INFORMATION,
    "ue_radio_capability_for_paging": lambda v: UE_RADIO_PAGING_INFORMATION,
    "ue_radio_capability_nr_format": lambda v: NR_UE_RADIO_ACCESS_CAPABILITY_INFORMATION,
    "ue_radio_capability_for_paging_nr_format": lambda v: NR_UE_RADIO_PAGING_INFORMATION,
    "ue_rlf_report_container": lambda v: RLF_REPORT,
    "ue_rlf_report_container_for_extended_bands": lambda v: RLF_REPORT_FOR_EXTENDED_BANDS,
    "ue_history_information_from_the_ue": lambda v: VISITED_CELL_INFO_LIST,
    "lppa_pdu": lambda v: E_CID_MEASUREMENT_TERMINATION,
    "e_utran_trace_id": lambda v: v.plmn_identity() + v.octets(5),
    "warning_message_contents": S1apValues.warning_message,
    "data_coding_scheme": lambda v: BitString(0x0F, 8),
    "iMSI": lambda v: encode_tbcd(v.imsi().imsi),
    "lhn_id": lambda v: b"lhn." + b"x" * v.number(28, 60),
    "uTRAN-Cell": lambda v: LAST_VISITED_UTRAN_CELL,
    "nG-RAN-Cell": lambda v: LAST_VISITED_NG_RAN_CELL,
    "mdt_configuration_nr": lambda v: NG_RAN_MDT_CONFIGURATION,
    "ce_level": lambda v: UE_PAGING_COVERAGE_INFORMATION,
    "source_to_target_transparent_container_secondary": S1apValues.source_to_target,
    "target_to_source_transparent_container_secondary": S1apValues.target_to_source,
    "rim_information": lambda v: RAN_INFORMATION_REQUEST,
    "intersystem_son_configuration_transfer_ect": lambda v: NG_RAN_SON_CONFIGURATION_TRANSFER,
    "intersystem_son_configuration_transfer_mct": lambda v: NG_RAN_SON_CONFIGURATION_TRANSFER,
    "cdma2000_pdu": lambda v: bytes.fromhex("0200"),
    "cdma2000_sector_id": lambda v: b"\xfe\x04" + v.octets(4),           # an element of A21
    "nas_security_parameters_from_e_utran": lambda v: v.octets(1),
    "nas_security_parameters_to_e_utran": lambda v: v.octets(4) + b"\x12\x00",
    "msclassmark2": lambda v: bytes.fromhex("5758a6"),
    "msclassmark3": lambda v: bytes.fromhex("601404ef65233b8878d29000"),
}


def samples(seed: int, random_variants: int) -> Iterator[Message]:
    """Every message with its mandatory elements only, with all elements, and with a random choice of them."""
    values = S1apValues(seed)
    for name in MESSAGES:
        for optional in (0.0, 1.0, *[0.4] * random_variants):
            yield values.s1ap_message(name, optional=optional)
