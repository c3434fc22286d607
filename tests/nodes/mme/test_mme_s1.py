"""S1 as the MME sees it: setup, reset, errors of TS 36.413 clauses 8.7 and 10, and garbage."""

from __future__ import annotations

import asyncio
import random

import pytest

from epc.mme import MmeConfig
from epc.node import ConfigError, parse_config
from epc.wire import nas, s1ap

pytestmark = pytest.mark.virtual_clock


async def test_s1_setup_tells_gummei_and_capacity(world) -> None:
    world.enb.send(world.enb.s1_setup_request())
    response = await world.enb.next()
    assert response.served_gummeis == (s1ap.ServedGUMMEIsItem(
        served_plmns=(b"\x00\xf1\x10",), served_group_ids=(b"\x80\x01",), served_mmecs=(b"\x02",)),)
    assert response.relative_mme_capacity == 255


async def test_s1_setup_of_a_foreign_network_is_refused(world) -> None:
    world.enb.send(world.enb.s1_setup_request("99999"))
    failure = await world.enb.next()
    assert isinstance(failure, s1ap.S1SetupFailure)
    assert (failure.cause, failure.time_to_wait) == (s1ap.Cause("misc", "unknown-PLMN"), "v10s")


async def test_s1_setup_again_wipes_the_phones(world, phone) -> None:
    await phone.attach()
    world.enb.send(world.enb.s1_setup_request())
    await world.enb.next()
    await world.quiet()
    assert world.mme.s1_connections == 0
    assert phone.context.is_registered


async def test_message_before_s1_setup(world, phone) -> None:
    enb = type(world.enb)(world.network, "enb2")
    await enb.connect()
    stranger = world.phone(enb=enb)
    stranger.say(stranger.attach_request())
    error = await enb.next()
    assert error.cause == s1ap.Cause("protocol", "message-not-compatible-with-receiver-state")


async def test_unknown_mme_ue_s1ap_id(world, phone) -> None:
    await phone.attach()
    phone.enb.send(s1ap.UplinkNASTransport(mme_ue_s1ap_id=999, enb_ue_s1ap_id=77, nas_pdu=b"\x07\x46", tai=world.enb.tai, eutran_cgi=world.enb.cgi))
    error = await world.enb.next()
    assert (error.cause, error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (s1ap.Cause("radioNetwork", "unknown-mme-ue-s1ap-id"), 999, 77)
    assert phone.context.is_registered


async def test_pair_of_identities_that_does_not_fit(world, phone) -> None:
    await phone.attach()
    phone.enb.send(s1ap.UplinkNASTransport(
        mme_ue_s1ap_id=phone.mme_ue_s1ap_id, enb_ue_s1ap_id=77, nas_pdu=b"\x07\x46", tai=world.enb.tai, eutran_cgi=world.enb.cgi))
    assert (await world.enb.next()).cause == s1ap.Cause("radioNetwork", "unknown-pair-ue-s1ap-id")


async def test_error_indication_about_a_phone_releases_it(world, phone) -> None:
    await phone.attach()
    phone.enb.send(s1ap.ErrorIndication(cause=s1ap.Cause("radioNetwork", "unknown-enb-ue-s1ap-id"), **phone.ids))
    await world.quiet()
    assert phone.context.connection is None
    assert phone.context.is_registered


async def test_enb_identity_used_anew_replaces_the_stale_connection(world, phone) -> None:
    await phone.attach()
    world.enb._ids = 0
    other = world.phone("001010000000002")
    await other.attach()
    assert world.mme.s1_connections == 1
    assert phone.context.connection is None


async def test_reset_of_all(world, phone) -> None:
    await phone.attach()
    world.enb.send(s1ap.Reset(cause=s1ap.Cause("misc", "hardware-failure"), reset_type=s1ap.ResetType("s1-Interface", "reset-all")))
    assert isinstance(await world.enb.next(), s1ap.ResetAcknowledge)
    await world.quiet()
    assert world.mme.s1_connections == 0
    assert world.sgw.enb_teids == {}


async def test_reset_of_some_acknowledges_the_list(world, phone) -> None:
    await phone.attach()
    other = world.phone("001010000000002")
    await other.attach()
    listed = (s1ap.UEassociatedLogicalS1ConnectionItem(mme_ue_s1ap_id=phone.mme_ue_s1ap_id),
              s1ap.UEassociatedLogicalS1ConnectionItem(enb_ue_s1ap_id=4711))
    world.enb.send(s1ap.Reset(cause=s1ap.Cause("misc", "unspecified"), reset_type=s1ap.ResetType("partOfS1-Interface", listed)))
    assert (await world.enb.next()).ue_associated_logical_s1_connection_list_res_ack == listed
    await world.quiet()
    assert phone.context.connection is None
    assert other.context.connection is not None


async def test_configuration_update(world) -> None:
    world.enb.send(s1ap.ENBConfigurationUpdate(enb_name="renamed"))
    assert isinstance(await world.enb.next(), s1ap.ENBConfigurationUpdateAcknowledge)
    assert world.mme.views()["s1"]()[0]["enb"] == "renamed"
    foreign = (s1ap.SupportedTAsItem(tac=b"\0\x63", broadcast_plmns=(b"\x00\xf1\x10",)),)
    world.enb.send(s1ap.ENBConfigurationUpdate(supported_tas=foreign))
    assert isinstance(await world.enb.next(), s1ap.ENBConfigurationUpdateFailure)


async def test_procedure_that_is_not_offered_is_refused(world, phone) -> None:
    await phone.attach()
    world.enb.send(s1ap.PathSwitchRequest(
        enb_ue_s1ap_id=9, source_mme_ue_s1ap_id=phone.mme_ue_s1ap_id, eutran_cgi=world.enb.cgi, tai=world.enb.tai,
        ue_security_capabilities=s1ap.UESecurityCapabilities(
            encryption_algorithms=s1ap.BitString(0, 16), integrity_protection_algorithms=s1ap.BitString(0, 16)),
        e_rab_to_be_switched_dl_list=(s1ap.ERABToBeSwitchedDLItem(
            e_rab_id=5, transport_layer_address=s1ap.BitString.of(b"\x7f\0\0\x28"), gtp_teid=b"\0\0\0\x09"),)))
    error = await world.enb.next()
    assert isinstance(error, s1ap.ErrorIndication)
    assert error.criticality_diagnostics.procedure_code == s1ap.PathSwitchRequest.procedure_code


@pytest.mark.parametrize("octets", [b"", b"\xff\xff\xff", bytes(40), b"\x00\x11\x00\x01\x00"])
async def test_garbage_is_answered_or_ignored_and_the_mme_lives_on(world, phone, octets) -> None:
    world.enb.association.send(octets, stream=0, ppid=18)
    await asyncio.sleep(1)
    await phone.attach()


async def test_mutated_messages_do_no_harm(world, phone) -> None:
    await phone.attach()
    chance = random.Random(5)
    samples = [
        s1ap.encode(world.enb.s1_setup_request()),
        s1ap.encode(s1ap.InitialUEMessage(
            enb_ue_s1ap_id=50, nas_pdu=nas.encode(phone.attach_request()), tai=world.enb.tai, eutran_cgi=world.enb.cgi,
            rrc_establishment_cause="mo-Signalling")),
        s1ap.encode(s1ap.UplinkNASTransport(nas_pdu=b"\x07\x46", tai=world.enb.tai, eutran_cgi=world.enb.cgi, **phone.ids)),
        s1ap.encode(s1ap.UEContextReleaseComplete(**phone.ids)),
    ]
    world.enb.phones.clear()
    for _ in range(400):
        octets = bytearray(chance.choice(samples))
        for _ in range(chance.randint(1, 3)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        world.enb.association.send(bytes(octets), stream=1, ppid=18)
    await asyncio.sleep(60)
    assert world.failures("attach", "error", "internal error") == 0
    assert world.enb.association.is_open


async def test_state_is_shown_in_plain_data(world, phone) -> None:
    await phone.attach()
    views = world.mme.views()
    (shown,) = views["ues"]()["ues"]
    assert (shown["imsi"], shown["emm"], shown["ecm"], shown["enb"], shown["security"]) == (
        phone.imsi, "EMM-REGISTERED", "ECM-CONNECTED", "enb", "EEA2 EIA2")
    assert shown["pdns"] == [{"apn": "internet", "ebi": 5, "ipv4": "10.45.0.2", "bearers": [5]}]
    assert views["peers"]()[0]["is_usable"]
    await phone.go_idle()
    (running,) = views["waiting"]()
    assert running["timer"] == "mobile reachable"
    assert world.mme.is_ready()


@pytest.mark.parametrize(("change", "complaint"), [
    ({"gummeis": []}, "gummeis"),
    ({"tais": [{"plmn": "0010", "tacs": [1]}]}, "tais.0.plmn"),
    ({"tais": [{"plmn": "00101", "tacs": list(range(16))}, {"plmn": "00102", "tacs": [1]}]}, "at most 16"),
    ({"s11": {"host": "0.0.0.0"}}, "0.0.0.0"),
    ({"timers": {"t3412_s": 63}}, "t3412_s"),
    ({"security": {"integrity": ["EIA9"]}}, "security.integrity"),
    ({"surprise": 1}, "surprise"),
])
async def test_configuration_errors_name_their_key(world, change, complaint) -> None:
    data = world.mme.config.model_dump(mode="json") | change
    with pytest.raises(ConfigError, match=complaint):
        parse_config(data, MmeConfig, source="mme.yaml")
