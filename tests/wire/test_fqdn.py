"""Names of TS 23.003 and TS 29.303, with the specifications' own examples."""

from __future__ import annotations

import pytest

from epc.wire import fqdn


@pytest.mark.parametrize(("plmn", "realm"), [
    ("00101", "epc.mnc001.mcc001.3gppnetwork.org"), ("21407", "epc.mnc007.mcc214.3gppnetwork.org"), ("310410", "epc.mnc410.mcc310.3gppnetwork.org")])
def test_realm_of_a_plmn_and_back(plmn: str, realm: str) -> None:
    assert fqdn.epc_realm(plmn) == realm
    assert fqdn.plmn_of_realm(realm.upper() + ".", mnc_digits=len(plmn) - 3) == plmn
    assert fqdn.plmn_of_realm("example.org") is None


@pytest.mark.parametrize(("apn", "identifier", "name"), [
    ("internet", "mnc015.mcc234.gprs", "internet.apn.epc.mnc015.mcc234.3gppnetwork.org"),
    ("internet", "province1.mnc15.mcc234.gprs", "internet.province1.apn.epc.mnc015.mcc234.3gppnetwork.org"),        # TS 23.003 clause 19.4.2.2.1
    ("IMS.Test", "a.b.MNC001.MCC001.GPRS", "ims.test.a.b.apn.epc.mnc001.mcc001.3gppnetwork.org"),
])
def test_name_of_an_access_point(apn: str, identifier: str, name: str) -> None:
    assert fqdn.is_operator_identifier(identifier)
    assert fqdn.apn_fqdn(apn, identifier) == name


@pytest.mark.parametrize("text", ["", "gprs", "mnc001.mcc001", "province1", "mnc001.mcc1.gprs", "mncxyz.mcc001.gprs", "xmnc001.mcc001.gprs"])
def test_what_is_no_operator_identifier(text: str) -> None:
    assert not fqdn.is_operator_identifier(text)
    with pytest.raises(ValueError, match="no APN operator identifier"):
        fqdn.apn_fqdn("internet", text)


def test_the_operator_identifier_comes_off_an_apn() -> None:
    assert fqdn.apn_network_identifier("internet.mnc001.mcc001.gprs") == "internet"
    assert fqdn.apn_network_identifier("my.mncompany") == "my.mncompany"
    assert fqdn.apn_operator_identifier("310410") == "mnc410.mcc310.gprs"


def test_name_of_a_tracking_area() -> None:
    assert fqdn.tai_fqdn("21407", 0x0B21) == "tac-lb21.tac-hb0b.tac.epc.mnc007.mcc214.3gppnetwork.org"


def test_nodes_and_how_close_they_are() -> None:
    first = "topon.s5-gtp.gw01.nodes.north.epc.mnc001.mcc001.3gppnetwork.org"
    second = "TOPOFF.s11.gw02.nodes.north.epc.mnc001.mcc001.3gppnetwork.org."
    assert fqdn.canonical_node_name(first) == "gw01.nodes.north.epc.mnc001.mcc001.3gppnetwork.org"
    assert (fqdn.is_topological(first), fqdn.is_topological(second)) == (True, False)
    assert fqdn.common_labels(fqdn.canonical_node_name(first), fqdn.canonical_node_name(second)) == 7
    assert fqdn.canonical_node_name("pgw1.example.org") == "pgw1.example.org"
