"""Random but valid GTPv2-C messages: every element holds what TS 29.274 allows, also where the codec hands octets through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from epc.wire import gtpv2
from epc.wire.gtpv2.table import Slot, Table
from tests.interop.nas_samples import NasValues

Make = Callable[["Gtpv2Values"], Any]


class Gtpv2Values(NasValues):
    """A source of values; the same ``seed`` gives the same ones."""

    def group(self, table: Table, *, optional: float) -> Any:
        """A message or grouped element with its mandatory elements, and each other one with probability ``optional``."""
        values: dict[str, Any] = {}
        for slot in table.slots:
            mandatory = slot in table.mandatory
            if not mandatory and self.random.random() >= optional:
                continue
            if slot.repeated:
                values[slot.name] = tuple(self.element(slot, optional) for _ in range(self.random.randint(1, 2)))
            else:
                values[slot.name] = self.element(slot, optional)
        return table.make(**values)

    def element(self, slot: Slot, optional: float) -> Any:
        if slot.group is not None:
            return self.group(slot.group, optional=optional)
        return BY_TYPE[slot.ie_type](self)

    # ------------------------------------------------------------------ elements of several parts

    def ipv4(self) -> IPv4Address:
        return IPv4Address(self.u32())

    def ipv6(self) -> IPv6Address:
        return IPv6Address(self.octets(16))

    def address(self) -> IPv4Address | IPv6Address:
        return self.random.choice((self.ipv4(), self.ipv6()))

    def cause(self) -> gtpv2.Cause:
        offending = gtpv2.OffendingIe(self.random.choice((1, 2, 87, 93)), self.number(0, 3)) if self.chance() else None
        return gtpv2.Cause(value=self.random.choice(tuple(gtpv2.CauseValue)), pce=self.chance(), bce=self.chance(), cs=self.chance(),
                           offending_ie=offending)

    def arp(self) -> gtpv2.Arp:
        return gtpv2.Arp(priority_level=self.number(1, 15), pre_emption_capability=self.chance(), pre_emption_vulnerability=self.chance())

    def rates(self) -> dict[str, int]:
        names = ("mbr_uplink_kbps", "mbr_downlink_kbps", "gbr_uplink_kbps", "gbr_downlink_kbps")
        return {name: self.number(0, (1 << 40) - 1) for name in names}

    def paa(self) -> gtpv2.Paa:
        return self.random.choice((
            gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4, ipv4=self.ipv4()),
            gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV6, ipv6=self.ipv6(), ipv6_prefix_length=64),
            gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4V6, ipv4=self.ipv4(), ipv6=self.ipv6(), ipv6_prefix_length=64)))

    def fteid(self) -> gtpv2.Fteid:
        kind, teid = self.random.choice(tuple(gtpv2.InterfaceType)), self.u32()
        return self.random.choice((
            gtpv2.Fteid(interface_type=kind, teid=teid, ipv4=self.ipv4()), gtpv2.Fteid(interface_type=kind, teid=teid, ipv6=self.ipv6()),
            gtpv2.Fteid(interface_type=kind, teid=teid, ipv4=self.ipv4(), ipv6=self.ipv6())))

    def uli(self) -> gtpv2.Uli:
        plmn = self.plmn()
        parts: dict[str, Any] = {
            "cgi": gtpv2.Cgi(plmn, self.u16(), self.u16()), "sai": gtpv2.Sai(plmn, self.u16(), self.u16()),
            "rai": gtpv2.Rai(plmn, self.u16(), self.u8()), "tai": gtpv2.Tai(plmn, self.u16()),
            "ecgi": gtpv2.Ecgi(plmn, self.number(0, (1 << 28) - 1)), "lai": gtpv2.Lai(plmn, self.u16()),
            "macro_enodeb_id": gtpv2.MacroEnodebId(plmn, self.number(0, (1 << 20) - 1)),
            "extended_macro_enodeb_id": self.random.choice((
                gtpv2.ExtendedMacroEnodebId(plmn, True, self.number(0, (1 << 18) - 1)),
                gtpv2.ExtendedMacroEnodebId(plmn, False, self.number(0, (1 << 21) - 1)))),
        }
        return gtpv2.Uli(**{name: parts[name] for name in self.random.sample(sorted(parts), self.random.randint(1, len(parts)))})

    def fq_csid(self) -> gtpv2.FqCsid:
        node = self.random.choice((self.ipv4(), self.ipv6(), 1001 << 12 | 5))
        return gtpv2.FqCsid(node_id=node, csids=tuple(self.u16() for _ in range(self.random.randint(1, 3))))

    def trace_reference(self) -> gtpv2.TraceReference:
        return gtpv2.TraceReference(self.plmn(), self.number(0, (1 << 24) - 1))

    def trace_information(self) -> gtpv2.TraceInformation:
        return gtpv2.TraceInformation(
            reference=self.trace_reference(), triggering_events=self.octets(9), ne_types=self.u16(), session_trace_depth=self.number(0, 5),
            interfaces=self.octets(12), collection_entity=self.address())

    def timer(self) -> gtpv2.EpcTimer:
        return gtpv2.EpcTimer(unit=self.random.choice((0, 1, 2, 3, 4, 7)), value=self.number(0, 31))

    def secondary_rat_report(self) -> gtpv2.SecondaryRatUsageDataReport:
        return gtpv2.SecondaryRatUsageDataReport(
            for_sgw=self.chance(), for_pgw=self.chance(), secondary_rat_type=self.number(0, 1), ebi=self.ebi(), start_timestamp=self.u32(),
            end_timestamp=self.u32(), downlink_octets=self.number(0, (1 << 64) - 1), uplink_octets=self.number(0, (1 << 64) - 1))

    def ran_nas_cause(self) -> gtpv2.RanNasCause:
        kind = self.random.choice(tuple(gtpv2.RanNasProtocolType))
        length = 2 if kind in (gtpv2.RanNasProtocolType.DIAMETER_CAUSE, gtpv2.RanNasProtocolType.IKEV2_CAUSE) else 1
        cause_type = self.number(0, 4) if kind is gtpv2.RanNasProtocolType.S1AP_CAUSE else 0
        return gtpv2.RanNasCause(protocol_type=kind, cause_type=cause_type, value=bytes((0,) * (length - 1) + (self.number(0, 5),)))

    def user_csg_information(self) -> gtpv2.UserCsgInformation:
        return gtpv2.UserCsgInformation(
            plmn=self.plmn(), csg_id=self.number(0, (1 << 27) - 1), access_mode=self.number(0, 1), lcsg=self.chance(), cmi=self.chance())

    def packet_loss_rate(self) -> gtpv2.MaximumPacketLossRate:
        return gtpv2.MaximumPacketLossRate(uplink=self.number(0, 1000), downlink=self.number(0, 1000) if self.chance() else None)

    def ebi(self) -> int:
        return self.number(5, 15)

    # ------------------------------------------------------------------ elements that the codec hands through

    def s103_forwarding(self) -> bytes:
        """TS 29.274 clause 8.25: HSGW's address, GRE key, EPS bearers."""
        return b"\x04" + self.octets(4) + self.octets(4) + bytes((2, 5, 6))

    def s1u_forwarding(self) -> bytes:
        """TS 29.274 clause 8.26: bearer, SGW's address, TEID."""
        return bytes((5, 4)) + self.octets(4) + self.octets(4)

    def presence_reporting_area_action(self) -> bytes:
        """TS 29.274 clause 8.108: start reporting of an area that is a list of one TAI."""
        elements = bytes((1 << 4, 0, 0, 0, 0, 0)) + bytes.fromhex("00f110") + self.octets(2)
        return b"\x01" + self.octets(3) + elements + bytes(1)          # no extended macro eNodeB

    def presence_reporting_area_information(self) -> bytes:
        """TS 29.274 clause 8.109: inside or outside."""
        return self.octets(3) + bytes((self.random.choice((1, 2)),))

    def remote_user_id(self) -> bytes:
        """TS 29.274 clause 8.123: the IMSI."""
        return b"\x00\x08" + bytes.fromhex("00101032547698f0")


BY_TYPE: dict[int, Make] = {
    1: lambda v: v.plmn() + v.digits(9, 9),
    2: Gtpv2Values.cause,
    3: NasValues.u8,
    71: NasValues.apn,
    72: lambda v: gtpv2.Ambr(uplink_kbps=v.u32(), downlink_kbps=v.u32()),
    73: Gtpv2Values.ebi,
    74: Gtpv2Values.address,
    75: lambda v: v.digits(15, 16),
    76: lambda v: v.digits(8, 15),
    77: lambda v: gtpv2.Indication(v.random.getrandbits(v.random.choice((16, 24, 56, 72)))),
    78: NasValues.protocol_configuration_options,
    79: Gtpv2Values.paa,
    80: lambda v: gtpv2.BearerQos(qci=v.number(1, 9), arp=v.arp(), **v.rates()),
    81: lambda v: gtpv2.FlowQos(qci=v.number(1, 9), **v.rates()),
    82: lambda v: v.random.choice(tuple(gtpv2.RatType)),
    83: NasValues.plmn,
    84: NasValues.traffic_flow_template,
    85: NasValues.traffic_flow_template,
    86: Gtpv2Values.uli,
    87: Gtpv2Values.fteid,
    90: Gtpv2Values.s103_forwarding,
    91: Gtpv2Values.s1u_forwarding,
    92: NasValues.u8,
    94: NasValues.u32,
    95: NasValues.u16,
    96: Gtpv2Values.trace_information,
    97: lambda v: gtpv2.BearerFlags(v.number(0, 15)),
    99: lambda v: v.random.choice(tuple(gtpv2.PdnType)),
    100: lambda v: v.number(1, 254),
    111: NasValues.u32,
    113: NasValues.u8,
    114: lambda v: gtpv2.UeTimeZone(offset_minutes=15 * v.number(-48, 56), daylight_saving_hours=v.number(0, 2)),
    115: Gtpv2Values.trace_reference,
    118: lambda v: gtpv2.FContainer(container_type=4, octets=bytes.fromhex("010101")),
    126: NasValues.u16,
    127: lambda v: v.number(0, 4),
    128: lambda v: v.random.choice(tuple(gtpv2.SelectionMode)),
    131: lambda v: v.random.choice(tuple(gtpv2.ChangeReportingAction)),
    132: Gtpv2Values.fq_csid,
    135: lambda v: v.random.choice(tuple(gtpv2.NodeType)),
    136: NasValues.apn,
    145: Gtpv2Values.user_csg_information,
    146: lambda v: gtpv2.CsgInformationReportingAction(v.number(0, 7)),
    151: lambda v: b"node-1",
    152: lambda v: gtpv2.NodeFeatures(v.number(0, 31)),
    154: lambda v: gtpv2.Throttling(delay=v.timer(), factor_percent=v.number(0, 100)),
    155: Gtpv2Values.arp,
    156: Gtpv2Values.timer,
    157: lambda v: v.number(0, 1),
    163: NasValues.protocol_configuration_options,
    165: lambda v: v.number(0, 1),
    167: lambda v: v.number(0, 3),
    170: NasValues.u32,
    172: Gtpv2Values.ran_nas_cause,
    173: lambda v: v.number(0, 3),
    177: Gtpv2Values.presence_reporting_area_action,
    178: Gtpv2Values.presence_reporting_area_information,
    182: lambda v: v.number(0, 100),
    183: NasValues.u32,
    184: lambda v: gtpv2.ApnAndRelativeCapacity(v.number(1, 100), v.apn()),
    186: lambda v: gtpv2.PagingAndServiceInformation(ebi=v.ebi(), paging_policy_indication=v.number(0, 63) if v.chance() else None),
    187: lambda v: v.number(1, 60_000),
    188: lambda v: v.number(0, (1 << 48) - 1),
    192: Gtpv2Values.remote_user_id,
    193: lambda v: v.octets(4),
    197: NasValues.protocol_configuration_options,
    198: lambda v: gtpv2.ServingPlmnRateControl(v.number(10, 0xFFFF), v.number(10, 0xFFFF)),
    199: lambda v: gtpv2.Counter(v.u32(), v.u8()),
    200: NasValues.u16,
    201: Gtpv2Values.secondary_rat_report,
    202: lambda v: v.number(0, 1),
    203: Gtpv2Values.packet_loss_rate,
    204: lambda v: gtpv2.ApnRateControlStatus(v.u32(), v.u32(), v.u32(), v.number(0, (1 << 64) - 1)),
    215: lambda v: "set1.pgwset.epc.mnc001.mcc001.3gppnetwork.org",
}


def samples(seed: int, random_variants: int) -> Iterator[gtpv2.Message]:
    """Every message with its mandatory elements only, with all elements, and with a random choice of them."""
    values = Gtpv2Values(seed)
    for message_type in sorted(gtpv2.MESSAGES):
        for optional in (0.0, 1.0, *[0.4] * random_variants):
            yield values.group(gtpv2.MESSAGES[message_type].table, optional=optional)
