"""Writes ``dictionary.json``: the AVPs this package knows by name.

The data is taken from python-diameter (MIT License, Copyright (c) 2023 Mikko Mensonen), a development dependency, and put
right where it departs from the specifications. Run it as ``python -m epc.wire.diameter.build_dictionary``.
"""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

SOURCE = "python-diameter, https://github.com/mensonen/diameter"
LICENSE = """MIT License

Copyright (c) 2023 Mikko Mensonen

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files \
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, \
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, \
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF \
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE \
FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION \
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
VENDORS = {0: "IETF", 10415: "3GPP", 13019: "ETSI"}
DESTINATION = pathlib.Path(__file__).with_name("dictionary.json")


class Entry(NamedTuple):
    name: str
    code: int
    vendor_id: int
    type: str
    mandatory: bool


# TS 29.272 table 7.3.1/1, TS 29.212 tables 5.3.0.1 and 5.4.0.1, TS 29.214 table 5.3.0.1, TS 29.229 table 6.3.1: the M bit must not be set,
# or need not be.
NOT_MANDATORY_3GPP = frozenset("""
    Active-Time AF-Signalling-Protocol Age-Of-Location-Information AIR-Flags Allocation-Retention-Priority AN-GW-Address AN-GW-Status AN-Trusted
    Application-Detection-Information Application-Service-Provider-Identity APN-Aggregate-Max-Bitrate-DL APN-Aggregate-Max-Bitrate-UL
    Charging-Correlation-Indicator CLR-Flags Conditional-APN-Aggregate-Max-Bitrate Content-Version Current-Location-Retrieved
    Default-EPS-Bearer-QoS Default-QoS-Information Default-QoS-Name E-UTRAN-Cell-Global-Identity eDRX-Cycle-Length Emergency-Info
    Emergency-Services EPS-Location-Information EPS-User-State Error-Diagnostic Event-Report-Indication Extended-APN-AMBR-DL Extended-APN-AMBR-UL
    Extended-GBR-DL Extended-GBR-UL Extended-Max-Requested-BW-DL Extended-Max-Requested-BW-UL External-Identifier Feature-List Feature-List-ID
    Flow-Direction Flow-Information Flow-Label Geodetic-Information Geographical-Information Homogeneous-Support-of-IMS-Voice-Over-PS-Sessions
    ICS-Indicator IMS-Voice-Over-PS-Sessions-Supported Interworking-5GS-Indicator Last-UE-Activity-Time LIPA-Permission
    IP-Domain-Id Maximum-UE-Availability-Time MDT-User-Consent Media-Component-Status Min-Requested-Bandwidth-DL Min-Requested-Bandwidth-UL
    MME-Location-Information MME-User-State Monitoring-Event-Config-Status Required-Access-Info Rx-Request-Type
    Monitoring-Event-Configuration Monitoring-Event-Report Monitoring-Key MPS-Priority Mute-Notification NetLoc-Access-Support
    Non-IP-Data-Delivery-Mechanism Non-IP-PDN-Type-Indicator Packet-Filter-Content Packet-Filter-Identifier Packet-Filter-Information
    Packet-Filter-Operation Packet-Filter-Usage PDN-Connection-Continuity Pre-emption-Capability Pre-emption-Vulnerability Preferred-Data-Mode
    Priority-Level PUR-Flags RAT-Type Redirect-Information Redirect-Support Relay-Node-Indicator Required-Access-Info
    Resource-Allocation-Notification Routing-Filter Routing-IP-Address Routing-Rule-Definition Routing-Rule-Install Routing-Rule-Remove
    Rule-Failure-Code-Detail SCEF-ID SCEF-Realm Security-Parameter-Index Service-Gap-Time SIPTO-Permission Sponsor-Identity
    Sponsored-Connectivity-Data Sponsoring-Action Subscribed-Periodic-RAU-TAU-Timer Subscribed-VSRVCC Subscription-Data-Deletion
    Supported-Features Supported-Services TDF-Application-Identifier TDF-Information Third-Context-Identifier Tracking-Area-Identity
    Tunnel-Header-Filter Tunnel-Header-Length Tunnel-Information UDP-Source-Port UE-SRVCC-Capability UE-Usage-Type Usage-Monitoring-Information
    Usage-Monitoring-Level Usage-Monitoring-Report Usage-Monitoring-Support User-CSG-Information User-Id VPLMN-LIPA-Allowed
""".split())  # noqa: SIM905

# RFC 6733 clause 4.5: likewise.
NOT_MANDATORY_IETF = frozenset({"Error-Message", "Error-Reporting-Host", "Firmware-Revision", "Product-Name"})

# TS 29.214 table 5.3.0.1, TS 32.299 table 7.2.0.1 (those that Gy uses): the source leaves the M bit out.
MANDATORY_3GPP = frozenset("""
    Access-Network-Charging-Address
    Dynamic-Address-Flag Event-Charging-TimeStamp Node-Id PDN-Connection-Charging-ID PDP-Address PDP-Context-Type Serving-Node-Type SGSN-Address
    Trigger Unit-Quota-Threshold
""".split())  # noqa: SIM905

# RFC 6733 clauses 4.3.1, 6.3 to 6.7 and TS 29.272 clause 7.3: identities, which the source lists as octet or UTF-8 strings.
IDENTITIES = frozenset("""
    Origin-Host Origin-Realm Destination-Host Destination-Realm Route-Record Proxy-Host Error-Reporting-Host
    Coupled-Node-Diameter-ID SCEF-ID SCEF-Realm
""".split())  # noqa: SIM905

# RFC 6733 clause 4.3.1: filter rules are text, which the source lists as octets.
FILTER_RULES = frozenset({"Flow-Description", "NAS-Filter-Rule", "Packet-Filter-Content", "Restriction-Filter-Rule", "TFT-Filter"})


def entries() -> list[Entry]:
    from diameter.message.avp import dictionary as source

    found: dict[tuple[int, int], Entry] = {}
    names: set[tuple[int, str]] = set()
    for vendor_id in VENDORS:
        table = source.AVP_VENDOR_DICTIONARY[vendor_id] if vendor_id else source.AVP_DICTIONARY
        for code, entry in sorted(table.items()):
            name = entry["name"]
            if (vendor_id, name) in names:
                continue
            names.add((vendor_id, name))
            avp_type = entry["type"].__name__.removeprefix("Avp").replace("Utf8", "UTF8")
            if name in IDENTITIES:
                avp_type = "DiameterIdentity"
            elif name in FILTER_RULES:
                avp_type = "IPFilterRule"
            mandatory = bool(entry.get("mandatory")) and name not in (NOT_MANDATORY_3GPP if vendor_id else NOT_MANDATORY_IETF)
            mandatory |= bool(vendor_id) and name in MANDATORY_3GPP
            found[vendor_id, code] = Entry(name, code, vendor_id, avp_type, mandatory)
    return [found[key] for key in sorted(found)]


def main() -> None:
    lines = ",\n".join(json.dumps([e.name, e.code, e.vendor_id, e.type, int(e.mandatory)]) for e in entries())
    head = json.dumps({"source": SOURCE, "license": LICENSE, "columns": ["name", "code", "vendor_id", "type", "mandatory"]})
    DESTINATION.write_text(f'{head[:-1]}, "avps": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
