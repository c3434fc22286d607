"""Identities between the configuration's digits and S1AP's octets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from epc.wire.errors import WireError
from epc.wire.identity import Plmn
from epc.wire.s1ap import ENBID, EUTRANCGI, GUMMEI, STMSI, TAI, BitString, GlobalENBID, decode_plmn_identity, encode_plmn_identity
from ran.enb.config import EnbConfig
from ran.enb.radio import Gummei, STmsi, SystemInformation


def global_enb_id(config: EnbConfig) -> GlobalENBID:
    """TS 36.413 clause 9.2.1.37."""
    identity = ENBID("homeENB-ID", BitString(config.enb_id, 28)) if config.enb_type == "home" else ENBID("macroENB-ID", BitString(config.enb_id, 20))
    return GlobalENBID(plmn_identity=encode_plmn_identity(config.plmn), enb_id=identity)


def tai(information: SystemInformation, plmn: Plmn | None = None) -> TAI:
    return TAI(plmn_identity=encode_plmn_identity(plmn or information.plmns[0]), tac=information.tac.to_bytes(2, "big"))


def eutran_cgi(information: SystemInformation) -> EUTRANCGI:
    return EUTRANCGI(plmn_identity=encode_plmn_identity(information.plmns[0]), cell_id=BitString(information.cell_identity, 28))


def s_tmsi(identity: STmsi) -> STMSI:
    return STMSI(mmec=bytes((identity.mme_code,)), m_tmsi=identity.m_tmsi.to_bytes(4, "big"))


def gummei(identity: Gummei) -> GUMMEI:
    return GUMMEI(
        plmn_identity=encode_plmn_identity(identity.plmn), mme_group_id=identity.mme_group_id.to_bytes(2, "big"),
        mme_code=bytes((identity.mme_code,)))


def plmn_text(octets: bytes) -> str:
    """A PLMN for people, whatever the octets are."""
    try:
        return decode_plmn_identity(octets)
    except WireError:
        return octets.hex()


def transport_layer_address(host: str) -> BitString:
    """TS 36.413 clause 9.2.2.1: an IP address as a bit string."""
    return BitString.of(ip_address(host).packed)


def host_of(address: BitString) -> str | None:
    """The address that packets can be sent to: IPv4 where there are both (TS 36.414 clause 5.3). ``None`` for another length."""
    octets = address.octets
    if address.nbits in (32, 160):
        return str(IPv4Address(octets[:4]))
    return str(IPv6Address(octets)) if address.nbits == 128 else None
