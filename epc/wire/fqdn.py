"""Names of networks, access points and nodes in the DNS: TS 23.003 clauses 9.1 and 19."""

from __future__ import annotations

import re

_DOMAIN = "3gppnetwork.org"
_OPERATOR_IDENTIFIER = re.compile(r"(?P<before>.*?\.|)mnc(?P<mnc>\d{1,3})\.mcc(?P<mcc>\d{3})\.gprs", re.IGNORECASE)
_REALM = re.compile(r"epc\.mnc(\d{3})\.mcc(\d{3})\.3gppnetwork\.org", re.IGNORECASE)


def epc_realm(plmn: str) -> str:
    """The home network realm, which is the Diameter realm and the DNS zone of the core network of ``plmn``: clause 19.2."""
    return f"epc.mnc{plmn[3:].zfill(3)}.mcc{plmn[:3]}.{_DOMAIN}"


def plmn_of_realm(realm: str, *, mnc_digits: int = 2) -> str | None:
    """The PLMN whose realm this is, ``None`` for any other domain. Two-digit MNCs are written with a zero before them: ``mnc_digits`` decides."""
    match = _REALM.fullmatch(realm.rstrip("."))
    if match is None:
        return None
    mnc, mcc = match.groups()
    return mcc + (mnc[1:] if mnc_digits == 2 and mnc.startswith("0") else mnc)


def apn_operator_identifier(plmn: str) -> str:
    """The default APN-OI, ``mnc001.mcc001.gprs``: clause 9.1.2."""
    return f"mnc{plmn[3:].zfill(3)}.mcc{plmn[:3]}.gprs"


def apn_network_identifier(apn: str) -> str:
    """``apn`` without its operator identifier, if it has one."""
    head, separator, _ = apn.partition(".mnc")
    return head if separator and apn.lower().endswith(".gprs") else apn


def is_operator_identifier(text: str) -> bool:
    """Whether it can stand as APN-OI or as APN-OI Replacement: ``province1.mnc001.mcc001.gprs``."""
    return _OPERATOR_IDENTIFIER.fullmatch(text) is not None


def apn_fqdn(network_identifier: str, operator_identifier: str) -> str:
    """The name under which the DNS has an APN's PGWs: clause 19.4.2.2.1.

    ``internet`` and ``province1.mnc015.mcc234.gprs`` make ``internet.province1.apn.epc.mnc015.mcc234.3gppnetwork.org``. Raises ``ValueError``.
    """
    match = _OPERATOR_IDENTIFIER.fullmatch(operator_identifier)
    if match is None:
        raise ValueError(f"{operator_identifier!r} is no APN operator identifier")
    before, mnc, mcc = match.group("before", "mnc", "mcc")
    return f"{network_identifier}.{before}apn.epc.mnc{mnc.zfill(3)}.mcc{mcc}.{_DOMAIN}".lower()


def tai_fqdn(plmn: str, tac: int) -> str:
    """The name under which the DNS has the SGWs and MMEs of a tracking area: clause 19.4.2.3."""
    return f"tac-lb{tac & 0xFF:02x}.tac-hb{tac >> 8:02x}.tac.{epc_realm(plmn)}"


def canonical_node_name(host_name: str) -> str:
    """The name of the node that an interface's host name belongs to, which is what follows ``topon.INTERFACE.``: TS 29.303 clause 4.1."""
    labels = host_name.rstrip(".").lower().split(".")
    return ".".join(labels[2:]) if labels[0] in ("topon", "topoff") and len(labels) > 2 else ".".join(labels)


def is_topological(host_name: str) -> bool:
    """Whether the operator wants nodes to be matched by closeness (``topon``)."""
    return host_name.lower().startswith("topon.")


def common_labels(one: str, other: str) -> int:
    """How many labels two canonical node names share, counted from the end; all of them for one and the same node."""
    shared = 0
    for left, right in zip(reversed(one.rstrip(".").lower().split(".")), reversed(other.rstrip(".").lower().split(".")), strict=False):
        if left != right:
            break
        shared += 1
    return shared
