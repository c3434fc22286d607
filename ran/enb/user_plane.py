"""The eNodeB's user plane: each E-RAB joins a radio bearer to a GTP-U tunnel."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from epc.dataplane.forwarder import ErrorIndication, Event, Forwarder, GtpuPort
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Qer, Session, SessionChange
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Transport
from epc.wire.identity import Ebi
from epc.wire.s1ap import ERABLevelQoSParameters, UEAggregateMaximumBitrate
from ran.enb.ue_context import Bearer, UeContext

_UPLINK, _DOWNLINK = 1, 2       # identities of a session's rules
_RATES = 1


class RadioLink:
    """One radio bearer as the forwarder sees it: an :class:`~epc.dataplane.forwarder.IpLink`."""

    __slots__ = ("ebi", "on_packet", "ue")

    def __init__(self, ue: UeContext, ebi: Ebi) -> None:
        self.ue = ue
        self.ebi = ebi
        self.on_packet: Callable[[bytes], None] = _no_tunnel

    def send(self, packet: bytes) -> None:
        ue = self.ue
        if ue.on_air:
            ue.last_activity = asyncio.get_running_loop().time()
            ue.radio.deliver_packet(self.ebi, packet)


def _no_tunnel(packet: bytes) -> None:
    """Nowhere to go yet."""


class UserPlane:
    def __init__(self, on_tunnel_lost: Callable[[UeContext, Ebi], None]) -> None:
        self._on_tunnel_lost = on_tunnel_lost
        self._forwarder: Forwarder | None = None
        self._session_ids = itertools.count(1)
        self._by_session: dict[int, Bearer] = {}

    async def open(self, transport: Transport, host: str) -> None:
        self._forwarder = await SocketForwarder.open(transport, core=GtpuPort(address=host, interface="S1-U"))
        self._forwarder.on_event = self._event

    async def close(self) -> None:
        if self._forwarder is not None:
            await self._forwarder.close()
            self._forwarder = None

    @property
    def forwarder(self) -> Forwarder:
        assert self._forwarder is not None, "the user plane is open between start and stop of the node"
        return self._forwarder

    def set_up(self, ue: UeContext, ebi: Ebi, qos: ERABLevelQoSParameters, s1u_sgw_teid: FTeid) -> Bearer:
        """Allocate t8 and join the bearer to the SGW's end; raises :class:`~epc.dataplane.rules.RuleError`."""
        forwarder = self.forwarder
        session_id = next(self._session_ids)
        bearer = Bearer(
            ebi=ebi, qci=qos.qci, gbr=qos.gbr_qos_information, s1u_enb_teid=forwarder.allocate_f_teid(Interface.CORE), s1u_sgw_teid=s1u_sgw_teid,
            session_id=session_id, link=RadioLink(ue, ebi))
        name = _name(session_id)
        forwarder.install(Session(
            id=session_id,
            pdrs=(
                Pdr(id=_UPLINK, source_interface=Interface.ACCESS, network_instance=name, far_id=_UPLINK, qer_ids=(_RATES,)),
                Pdr(id=_DOWNLINK, source_interface=Interface.CORE, local_f_teid=bearer.s1u_enb_teid, far_id=_DOWNLINK, qer_ids=(_RATES,)),
            ),
            fars=(
                _towards_sgw(s1u_sgw_teid),
                Far(id=_DOWNLINK, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance=name),
            ),
            qers=(_rates(bearer),),
        ))
        forwarder.connect(name, bearer.link)
        self._by_session[session_id] = bearer
        ue.bearers[ebi] = bearer
        return bearer

    def change_qos(self, bearer: Bearer, qos: ERABLevelQoSParameters) -> None:
        bearer.qci, bearer.gbr = qos.qci, qos.gbr_qos_information
        self.forwarder.modify(bearer.session_id, SessionChange(qers=(_rates(bearer),)))

    def set_aggregate_rate(self, ue: UeContext, rate: UEAggregateMaximumBitrate | None) -> None:
        """UE-AMBR (TS 23.401 clause 4.7.3), which all the UE's non-GBR bearers share; ``None`` changes nothing."""
        if rate is not None and rate != ue.aggregate_rate:
            ue.aggregate_rate = rate
            for bearer in ue.bearers.values():
                self.forwarder.modify(bearer.session_id, SessionChange(qers=(_rates(bearer),)))

    def move(self, bearer: Bearer, s1u_sgw_teid: FTeid) -> None:
        """The SGW's end is another one now."""
        self.forwarder.modify(bearer.session_id, SessionChange(fars=(_towards_sgw(s1u_sgw_teid),)))
        bearer.s1u_sgw_teid = s1u_sgw_teid

    def release(self, ue: UeContext, ebi: Ebi) -> None:
        """Forget the bearer, if it is there."""
        bearer = ue.bearers.pop(ebi, None)
        if bearer is not None and self._by_session.pop(bearer.session_id, None) is not None and self._forwarder is not None:
            self._forwarder.disconnect(_name(bearer.session_id))
            self._forwarder.remove(bearer.session_id)

    def release_all(self, ue: UeContext) -> None:
        for ebi in tuple(ue.bearers):
            self.release(ue, ebi)

    def _event(self, event: Event) -> None:
        if isinstance(event, ErrorIndication):
            bearer = self._by_session.get(event.session_id)
            if bearer is not None:
                self._on_tunnel_lost(bearer.link.ue, bearer.ebi)


def _name(session_id: int) -> str:
    """The plain IP link of one radio bearer."""
    return f"uu-{session_id}"


def _rates(bearer: Bearer) -> Qer:
    """A GBR bearer's own; the others share one among all those of the UE."""
    gbr, ue = bearer.gbr, bearer.link.ue
    if gbr is not None:
        return Qer(
            id=_RATES, uplink_mbr_bps=gbr.e_rab_maximum_bitrate_ul, downlink_mbr_bps=gbr.e_rab_maximum_bitrate_dl,
            uplink_gbr_bps=gbr.e_rab_guaranteed_bitrate_ul, downlink_gbr_bps=gbr.e_rab_guaranteed_bitrate_dl)
    rate = ue.aggregate_rate
    if rate is None:
        return Qer(id=_RATES)
    return Qer(
        id=_RATES, correlation_id=ue.enb_ue_s1ap_id, uplink_mbr_bps=rate.ue_aggregate_maximum_bit_rate_ul,
        downlink_mbr_bps=rate.ue_aggregate_maximum_bit_rate_dl)


def _towards_sgw(tunnel: FTeid) -> Far:
    return Far(id=_UPLINK, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=tunnel)
