"""Golden pairs: a message and its octets, annotated element by element; each runs both ways."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest

from epc.wire import nas
from epc.wire.identity import Plmn

KSI_NONE = nas.NasKeySetIdentifier(value=nas.NO_KEY_IS_AVAILABLE)
KSI_0 = nas.NasKeySetIdentifier(value=0)
KSI_2 = nas.NasKeySetIdentifier(value=2)
GUTI = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=0x02, m_tmsi=0xC0000001)

GOLDEN: list[tuple[nas.NasPdu, str]] = [
    (
        nas.AttachRequest(
            eps_attach_type=nas.EpsAttachType.COMBINED_EPS_IMSI_ATTACH,
            nas_key_set_identifier=KSI_NONE,
            eps_mobile_identity=nas.ImsiIdentity(imsi="001010000000001"),
            ue_network_capability=nas.UeNetworkCapability(eea=(0, 1, 2), eia=(1, 2), uea=(0, 1), uia=(1,), ucs2=True, further=b"\x10"),
            esm_message_container=bytes.fromhex("0201d011d1"),
            last_visited_registered_tai=nas.Tai(plmn="214007", tac=1),
            drx_parameter=b"\x0a\x00",
            ms_network_capability=bytes.fromhex("e5e034"),
            additional_update_type=0,
        ),
        """
        07 41                        EMM, ATTACH REQUEST
        72                           no key available, combined EPS/IMSI attach
        08 09 10 10 00 00 00 00 10   IMSI
        05 e0 60 c0 c0 10            UE network capability
        00 05 02 01 d0 11 d1         ESM message container
        52 12 74 00 00 01            last visited registered TAI
        5c 0a 00                     DRX parameter
        31 03 e5 e0 34               MS network capability
        f0                           additional update type
        """,
    ),
    (
        nas.PdnConnectivityRequest(
            procedure_transaction_identity=1,
            request_type=nas.RequestType.INITIAL_REQUEST,
            pdn_type=nas.PdnType.IPV4V6,
            esm_information_transfer_flag=nas.EsmInformationTransferFlag.REQUIRED,
            access_point_name="internet.lab",
            protocol_configuration_options=bytes.fromhex("80000d00"),
        ),
        """
        02 01 d0                     ESM, PTI 1, PDN CONNECTIVITY REQUEST
        31                           IPv4v6, initial request
        d1                           ESM information transfer flag
        28 0d 08 69 6e 74 65 72 6e 65 74 03 6c 61 62
        27 04 80 00 0d 00            PCO: DNS server, please
        """,
    ),
    (
        nas.AttachAccept(
            eps_attach_result=nas.EpsAttachResult.EPS_ONLY,
            t3412=nas.GprsTimer.of(3240),
            tai_list=nas.TaiList.of([nas.Tai(plmn="00101", tac=1), nas.Tai(plmn="00101", tac=7)]),
            esm_message_container=bytes.fromhex("5200c1"),
            guti=GUTI,
            emm_cause=nas.EmmCause.CS_DOMAIN_NOT_AVAILABLE,
            t3402=nas.GprsTimer.of(720),
            equivalent_plmns=(Plmn("00102"), Plmn("21407")),
            eps_network_feature_support=b"\x01",
        ),
        """
        07 42                        EMM, ATTACH ACCEPT
        01                           EPS only
        49                           T3412: 9 decihours
        08 01 00 f1 10 00 01 00 07   TAI list: two TACs of 001/01
        00 03 52 00 c1               ESM message container
        50 0b f6 00 f1 10 80 01 02 c0 00 00 01   GUTI
        53 12                        EMM cause #18
        17 2c                        T3402: 12 minutes
        4a 06 00 f1 20 12 f4 70      equivalent PLMNs
        64 01 01                     EPS network feature support
        """,
    ),
    (
        nas.ActivateDefaultEpsBearerContextRequest(
            eps_bearer_identity=5,
            procedure_transaction_identity=1,
            eps_qos=nas.EpsQos(qci=9),
            access_point_name="internet",
            pdn_address=nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=IPv4Address("10.45.0.2")),
            apn_ambr=nas.ApnAmbr(downlink_kbps=100_000, uplink_kbps=50_000),
            esm_cause=nas.EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED,
            protocol_configuration_options=bytes.fromhex("80000d0408080808"),
        ),
        """
        52 01 c1                     ESM, EBI 5, PTI 1
        01 09                        QCI 9
        09 08 69 6e 74 65 72 6e 65 74
        05 01 0a 2d 00 02            PDN address
        5e 04 fe fe 9e 6c            APN-AMBR: 100 Mbit/s down, 50 up
        58 32                        ESM cause #50
        27 08 80 00 0d 04 08 08 08 08
        """,
    ),
    (nas.AttachComplete(esm_message_container=bytes.fromhex("5200c2")), "07 43 00 03 52 00 c2"),
    (
        nas.AttachReject(emm_cause=nas.EmmCause.ESM_FAILURE, esm_message_container=bytes.fromhex("0201d11b"), t3402=nas.GprsTimer.of(None)),
        "07 44  13  78 00 04 02 01 d1 1b  16 01 e0",
    ),
    (nas.PdnConnectivityReject(procedure_transaction_identity=1, esm_cause=nas.EsmCause.MISSING_OR_UNKNOWN_APN), "02 01 d1 1b"),
    (
        nas.AuthenticationRequest(nas_key_set_identifier=KSI_0, rand=bytes(range(16)), autn=bytes(range(16, 32))),
        "07 52  00  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  10  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f",
    ),
    (nas.AuthenticationResponse(res=bytes.fromhex("0011223344556677")), "07 53  08 00 11 22 33 44 55 66 77"),
    (nas.AuthenticationReject(), "07 54"),
    (
        nas.AuthenticationFailure(emm_cause=nas.EmmCause.SYNCH_FAILURE, auts=bytes(range(14))),
        "07 5c 15 30 0e 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d",
    ),
    (nas.AuthenticationFailure(emm_cause=nas.EmmCause.MAC_FAILURE), "07 5c 14"),
    (nas.IdentityRequest(identity_type=nas.IdentityType.IMSI), "07 55 01"),
    (nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi="00101000000001")), "07 56 08 01 10 10 00 00 00 00 f1"),
    (nas.IdentityResponse(mobile_identity=nas.ImeisvIdentity(imeisv="3534900698733001")), "07 56 09 33 35 94 00 96 78 33 00 f1"),
    (
        nas.SecurityModeCommand(
            selected_nas_security_algorithms=nas.NasSecurityAlgorithms(ciphering=nas.CipheringAlgorithm.EEA2, integrity=nas.IntegrityAlgorithm.EIA2),
            nas_key_set_identifier=KSI_0,
            replayed_ue_security_capabilities=nas.UeSecurityCapability(eea=(0, 1, 2), eia=(1, 2), uea=(0, 1), uia=(1,), gea=(1, 2, 3)),
            imeisv_request=nas.ImeisvRequest.REQUESTED,
        ),
        "07 5d  22  00  05 e0 60 c0 40 70  c1",
    ),
    (nas.SecurityModeComplete(imeisv=nas.ImeisvIdentity(imeisv="3534900698733001")), "07 5e 23 09 33 35 94 00 96 78 33 00 f1"),
    (nas.SecurityModeReject(emm_cause=nas.EmmCause.UE_SECURITY_CAPABILITIES_MISMATCH), "07 5f 17"),
    (
        nas.DetachRequestFromUe(
            detach_type=nas.DetachType(type_of_detach=nas.TypeOfDetachFromUe.EPS_DETACH, switch_off=True),
            nas_key_set_identifier=KSI_0,
            eps_mobile_identity=GUTI,
        ),
        "07 45  09  0b f6 00 f1 10 80 01 02 c0 00 00 01",
    ),
    (nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED, emm_cause=nas.EmmCause.IMSI_UNKNOWN_IN_HSS), "07 45 02 53 02"),
    (nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED), "07 45 01"),
    (nas.DetachAccept(), "07 46"),
    (
        nas.TrackingAreaUpdateRequest(
            eps_update_type=nas.EpsUpdateType(value=nas.EpsUpdateTypeValue.PERIODIC_UPDATING, active=True),
            nas_key_set_identifier=KSI_0,
            old_guti=GUTI,
            eps_bearer_context_status=(5, 6, 15),
        ),
        "07 48  0b  0b f6 00 f1 10 80 01 02 c0 00 00 01  57 02 60 80",
    ),
    (
        nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED, t3412=nas.GprsTimer.of(6), eps_bearer_context_status=(5,)),
        "07 49  00  5a 03  57 02 20 00",
    ),
    (nas.TrackingAreaUpdateReject(emm_cause=nas.EmmCause.IMPLICITLY_DETACHED), "07 4b 0a"),
    (nas.ServiceReject(emm_cause=nas.EmmCause.CONGESTION, t3346=nas.GprsTimer.of(120)), "07 4e 16 5f 01 22"),
    (
        nas.EmmInformation(
            full_name_for_network=nas.NetworkName(text="epclab"),
            short_name_for_network=nas.NetworkName(text="Łódź", add_country_initials=True),
            local_time_zone_quarters=-14,
            universal_time_and_local_time_zone=nas.UniversalTime(year=24, month=2, day=29, hour=23, minute=59, second=1, time_zone_quarters=8),
        ),
        """
        07 61
        43 07 86 65 f8 98 1d 16 03      epclab, GSM 7 bit, 6 spare bits
        45 09 98 01 41 00 f3 00 64 01 7a
        46 49
        47 42 20 92 32 95 10 80
        """,
    ),
    (nas.EsmInformationRequest(procedure_transaction_identity=9), "02 09 d9"),
    (nas.DeactivateEpsBearerContextRequest(eps_bearer_identity=6, esm_cause=nas.EsmCause.REGULAR_DEACTIVATION), "62 00 cd 24"),
    (
        nas.ActivateDedicatedEpsBearerContextRequest(
            eps_bearer_identity=6,
            linked_eps_bearer_identity=5,
            eps_qos=nas.EpsQos(
                qci=1,
                maximum_bit_rate_uplink_kbps=64,
                maximum_bit_rate_downlink_kbps=128,
                guaranteed_bit_rate_uplink_kbps=63,
                guaranteed_bit_rate_downlink_kbps=0,
            ),
            tft=b"\x20",
        ),
        "62 00 c5  05  05 01 40 48 3f ff  01 20",
    ),
    (
        nas.SecurityProtected(
            security_header_type=nas.SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED,
            message_authentication_code=b"\x01\x02\x03\x04",
            sequence_number=255,
            payload=b"\x07\x46",
        ),
        "27  01 02 03 04  ff  07 46",
    ),
    (
        nas.ServiceRequest(nas_key_set_identifier=KSI_2, sequence_number=17, short_message_authentication_code=b"\xab\xcd"),
        "c7 51 ab cd",
    ),
    (nas.DownlinkNasTransport(nas_message_container=b"\x09\x01"), "07 62 02 09 01"),
    (nas.EmmStatus(emm_cause=222), "07 60 de"),
]


def octets_of(annotated: str) -> bytes:
    """The leading two-digit hexadecimal numbers of each line."""
    lines = [re.match(r"\s*((?:[0-9a-f]{2}(?:\s+|$))*)", line) for line in annotated.splitlines()]
    return bytes.fromhex("".join([line[1] for line in lines if line]))


@pytest.mark.parametrize(("message", "annotated"), GOLDEN, ids=[type(message).__name__ for message, _ in GOLDEN])
def test_golden_pair(message: nas.NasPdu, annotated: str) -> None:
    assert nas.encode(message).hex() == octets_of(annotated).hex()
    assert nas.decode(octets_of(annotated)) == message
