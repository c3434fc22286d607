"""EPS session management messages: TS 24.301 clause 8.3, message types in table 9.8.2.

Options, packet filters and other content that the MME hands through are octets; ``epc.wire.nas.protocol_configuration`` reads the options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from epc.wire.nas.bit_rate import APN_AMBR, EPS_QOS, ApnAmbr, EpsQos
from epc.wire.nas.causes import EsmCause
from epc.wire.nas.coding import NIBBLE, OCTET, OCTETS, half_octet, one_octet, opaque
from epc.wire.nas.enumerations import EsmInformationTransferFlag, NotificationIndicator, PdnType, RequestType
from epc.wire.nas.gprs_timer import GPRS_TIMER_3, GprsTimer3
from epc.wire.nas.pdn import ACCESS_POINT_NAME, PDN_ADDRESS, PdnAddress
from epc.wire.nas.table import LV, LVE, T1, TLV, TLVE, TV, HighHalf, LowHalf, NasMessage, V, nas_message

ESM_CAUSE = one_octet(EsmCause)
NOTIFICATION_INDICATOR = one_octet(NotificationIndicator)
PCO = opaque(1)
NBIFOM = opaque(1)
EXTENDED_QOS = opaque(10, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class EsmMessage(NasMessage):
    """Any message of protocol discriminator 2. Identity 0 means "no EPS bearer identity", transaction 0 "no procedure transaction"."""

    eps_bearer_identity: int = 0
    procedure_transaction_identity: int = 0


# ---------------------------------------------------------------------- bearer contexts, by the network


@nas_message(0xC1)
class ActivateDefaultEpsBearerContextRequest(EsmMessage):
    """TS 24.301 clause 8.3.6."""

    eps_qos: Annotated[EpsQos, LV(EPS_QOS)]
    access_point_name: Annotated[str, LV(ACCESS_POINT_NAME)]
    pdn_address: Annotated[PdnAddress, LV(PDN_ADDRESS)]
    transaction_identifier: Annotated[bytes | None, TLV(0x5D, opaque(1, 2))] = None
    negotiated_qos: Annotated[bytes | None, TLV(0x30, opaque(11))] = None
    negotiated_llc_sapi: Annotated[int | None, TV(0x32, 1, OCTET)] = None
    radio_priority: Annotated[int | None, T1(0x8, NIBBLE)] = None
    packet_flow_identifier: Annotated[bytes | None, TLV(0x34, opaque(1, 1))] = None
    apn_ambr: Annotated[ApnAmbr | None, TLV(0x5E, APN_AMBR)] = None
    esm_cause: Annotated[EsmCause | int | None, TV(0x58, 1, ESM_CAUSE)] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    connectivity_type: Annotated[int | None, T1(0xB, NIBBLE)] = None
    wlan_offload_indication: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    header_compression_configuration: Annotated[bytes | None, TLV(0x66, opaque(3))] = None
    control_plane_only_indication: Annotated[int | None, T1(0x9, NIBBLE)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None
    serving_plmn_rate_control: Annotated[bytes | None, TLV(0x6E, opaque(2, 2))] = None
    extended_apn_ambr: Annotated[bytes | None, TLV(0x5F, opaque(6, 6))] = None


@nas_message(0xC2)
class ActivateDefaultEpsBearerContextAccept(EsmMessage):
    """TS 24.301 clause 8.3.4."""

    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xC3)
class ActivateDefaultEpsBearerContextReject(EsmMessage):
    """TS 24.301 clause 8.3.5."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xC5)
class ActivateDedicatedEpsBearerContextRequest(EsmMessage):
    """TS 24.301 clause 8.3.3."""

    linked_eps_bearer_identity: Annotated[int, LowHalf(NIBBLE)]
    eps_qos: Annotated[EpsQos, LV(EPS_QOS)]
    tft: Annotated[bytes, LV(opaque(1))]
    transaction_identifier: Annotated[bytes | None, TLV(0x5D, opaque(1, 2))] = None
    negotiated_qos: Annotated[bytes | None, TLV(0x30, opaque(11))] = None
    negotiated_llc_sapi: Annotated[int | None, TV(0x32, 1, OCTET)] = None
    radio_priority: Annotated[int | None, T1(0x8, NIBBLE)] = None
    packet_flow_identifier: Annotated[bytes | None, TLV(0x34, opaque(1, 1))] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    wlan_offload_indication: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None
    extended_eps_qos: Annotated[bytes | None, TLV(0x5C, EXTENDED_QOS)] = None


@nas_message(0xC6)
class ActivateDedicatedEpsBearerContextAccept(EsmMessage):
    """TS 24.301 clause 8.3.1."""

    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xC7)
class ActivateDedicatedEpsBearerContextReject(EsmMessage):
    """TS 24.301 clause 8.3.2."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xC9)
class ModifyEpsBearerContextRequest(EsmMessage):
    """TS 24.301 clause 8.3.18."""

    new_eps_qos: Annotated[EpsQos | None, TLV(0x5B, EPS_QOS)] = None
    tft: Annotated[bytes | None, TLV(0x36, opaque(1))] = None
    new_qos: Annotated[bytes | None, TLV(0x30, opaque(11))] = None
    negotiated_llc_sapi: Annotated[int | None, TV(0x32, 1, OCTET)] = None
    radio_priority: Annotated[int | None, T1(0x8, NIBBLE)] = None
    packet_flow_identifier: Annotated[bytes | None, TLV(0x34, opaque(1, 1))] = None
    apn_ambr: Annotated[ApnAmbr | None, TLV(0x5E, APN_AMBR)] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    wlan_offload_indication: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    header_compression_configuration: Annotated[bytes | None, TLV(0x66, opaque(3))] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None
    extended_apn_ambr: Annotated[bytes | None, TLV(0x5F, opaque(6, 6))] = None
    extended_eps_qos: Annotated[bytes | None, TLV(0x5C, EXTENDED_QOS)] = None


@nas_message(0xCA)
class ModifyEpsBearerContextAccept(EsmMessage):
    """TS 24.301 clause 8.3.16."""

    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xCB)
class ModifyEpsBearerContextReject(EsmMessage):
    """TS 24.301 clause 8.3.17."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xCD)
class DeactivateEpsBearerContextRequest(EsmMessage):
    """TS 24.301 clause 8.3.12."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    t3396: Annotated[GprsTimer3 | None, TLV(0x37, GPRS_TIMER_3)] = None
    wlan_offload_indication: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xCE)
class DeactivateEpsBearerContextAccept(EsmMessage):
    """TS 24.301 clause 8.3.11."""

    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


# ---------------------------------------------------------------------- transactions, by the UE


@nas_message(0xD0)
class PdnConnectivityRequest(EsmMessage):
    """TS 24.301 clause 8.3.20."""

    request_type: Annotated[RequestType | int, LowHalf(half_octet(RequestType, bits=3))]
    pdn_type: Annotated[PdnType | int, HighHalf(half_octet(PdnType, bits=3))]
    esm_information_transfer_flag: Annotated[EsmInformationTransferFlag | int | None, T1(0xD, half_octet(EsmInformationTransferFlag, bits=1))] = None
    access_point_name: Annotated[str | None, TLV(0x28, ACCESS_POINT_NAME)] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    device_properties: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    header_compression_configuration: Annotated[bytes | None, TLV(0x66, opaque(3))] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xD1)
class PdnConnectivityReject(EsmMessage):
    """TS 24.301 clause 8.3.19."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    back_off_timer: Annotated[GprsTimer3 | None, TLV(0x37, GPRS_TIMER_3)] = None
    re_attempt_indicator: Annotated[bytes | None, TLV(0x6B, opaque(1))] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xD2)
class PdnDisconnectRequest(EsmMessage):
    """TS 24.301 clause 8.3.22."""

    linked_eps_bearer_identity: Annotated[int, LowHalf(NIBBLE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xD3)
class PdnDisconnectReject(EsmMessage):
    """TS 24.301 clause 8.3.21."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xD4)
class BearerResourceAllocationRequest(EsmMessage):
    """TS 24.301 clause 8.3.8."""

    linked_eps_bearer_identity: Annotated[int, LowHalf(NIBBLE)]
    traffic_flow_aggregate: Annotated[bytes, LV(opaque(1))]
    required_traffic_flow_qos: Annotated[EpsQos, LV(EPS_QOS)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    device_properties: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None
    extended_eps_qos: Annotated[bytes | None, TLV(0x5C, EXTENDED_QOS)] = None


@nas_message(0xD5)
class BearerResourceAllocationReject(EsmMessage):
    """TS 24.301 clause 8.3.7."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    back_off_timer: Annotated[GprsTimer3 | None, TLV(0x37, GPRS_TIMER_3)] = None
    re_attempt_indicator: Annotated[bytes | None, TLV(0x6B, opaque(1))] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xD6)
class BearerResourceModificationRequest(EsmMessage):
    """TS 24.301 clause 8.3.10."""

    eps_bearer_identity_for_packet_filter: Annotated[int, LowHalf(NIBBLE)]
    traffic_flow_aggregate: Annotated[bytes, LV(opaque(1))]
    required_traffic_flow_qos: Annotated[EpsQos | None, TLV(0x5B, EPS_QOS)] = None
    esm_cause: Annotated[EsmCause | int | None, TV(0x58, 1, ESM_CAUSE)] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    device_properties: Annotated[int | None, T1(0xC, NIBBLE)] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    header_compression_configuration: Annotated[bytes | None, TLV(0x66, opaque(3))] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None
    extended_eps_qos: Annotated[bytes | None, TLV(0x5C, EXTENDED_QOS)] = None


@nas_message(0xD7)
class BearerResourceModificationReject(EsmMessage):
    """TS 24.301 clause 8.3.9."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    back_off_timer: Annotated[GprsTimer3 | None, TLV(0x37, GPRS_TIMER_3)] = None
    re_attempt_indicator: Annotated[bytes | None, TLV(0x6B, opaque(1))] = None
    nbifom_container: Annotated[bytes | None, TLV(0x33, NBIFOM)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


# ---------------------------------------------------------------------- information, status, reports, data


@nas_message(0xD9)
class EsmInformationRequest(EsmMessage):
    """TS 24.301 clause 8.3.13."""


@nas_message(0xDA)
class EsmInformationResponse(EsmMessage):
    """TS 24.301 clause 8.3.14."""

    access_point_name: Annotated[str | None, TLV(0x28, ACCESS_POINT_NAME)] = None
    protocol_configuration_options: Annotated[bytes | None, TLV(0x27, PCO)] = None
    extended_protocol_configuration_options: Annotated[bytes | None, TLVE(0x7B, PCO)] = None


@nas_message(0xDB)
class Notification(EsmMessage):
    """TS 24.301 clause 8.3.18A."""

    notification_indicator: Annotated[NotificationIndicator | int, LV(NOTIFICATION_INDICATOR)]


@nas_message(0xDC)
class EsmDummyMessage(EsmMessage):
    """TS 24.301 clause 8.3.12A: fills the container of an attach without PDN connection."""


@nas_message(0xE8)
class EsmStatus(EsmMessage):
    """TS 24.301 clause 8.3.15."""

    esm_cause: Annotated[EsmCause | int, V(1, ESM_CAUSE)]


@nas_message(0xE9)
class RemoteUeReport(EsmMessage):
    """TS 24.301 clause 8.3.23."""

    remote_ue_context_connected: Annotated[bytes | None, TLVE(0x79, OCTETS)] = None
    remote_ue_context_disconnected: Annotated[bytes | None, TLVE(0x7A, OCTETS)] = None
    prose_key_management_function_address: Annotated[bytes | None, TLV(0x6F, opaque(1))] = None


@nas_message(0xEA)
class RemoteUeReportResponse(EsmMessage):
    """TS 24.301 clause 8.3.24."""


@nas_message(0xEB)
class EsmDataTransport(EsmMessage):
    """TS 24.301 clause 8.3.25."""

    user_data_container: Annotated[bytes, LVE(OCTETS)]
    release_assistance_indication: Annotated[int | None, T1(0xF, NIBBLE)] = None
