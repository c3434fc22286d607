"""A PDN connection as rules for the forwarder: two a bearer, tunnel to tunnel.

The uplink rules of the bearer with number n are 2n, the downlink rules 2n + 1. URR 1 is the whole PDN connection's, URR n (from 5) bearer n's.
"""

from __future__ import annotations

from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session, SessionChange, Urr
from epc.sgw.context import Bearer, PdnConnection
from epc.wire import gtpv2
from epc.wire.gtpv2 import Fteid, InterfaceType

_ALL_TRAFFIC = Urr(id=1)


def session_rules(connection: PdnConnection) -> Session:
    pdrs: list[Pdr] = []
    fars: list[Far] = []
    for bearer in connection.bearers.values():
        pdrs += bearer_pdrs(bearer)
        fars += (uplink_far(bearer), downlink_far(bearer))
    urrs = [_ALL_TRAFFIC, *[bearer.meter for bearer in connection.bearers.values() if bearer.meter is not None]]
    return Session(id=connection.session_id, pdrs=tuple(pdrs), fars=tuple(fars), urrs=tuple(urrs))


def bearer_pdrs(bearer: Bearer) -> tuple[Pdr, Pdr]:
    up, down = 2 * bearer.number, 2 * bearer.number + 1
    urr_ids = (_ALL_TRAFFIC.id,) if bearer.meter is None else (_ALL_TRAFFIC.id, bearer.meter.id)
    return (
        Pdr(id=up, source_interface=Interface.ACCESS, local_f_teid=bearer.s1u_sgw, far_id=up, urr_ids=urr_ids),
        Pdr(id=down, source_interface=Interface.CORE, local_f_teid=bearer.s5u_sgw, far_id=down, urr_ids=urr_ids),
    )


def uplink_far(bearer: Bearer) -> Far:
    return Far(
        id=2 * bearer.number, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=bearer.s5u_pgw
    )


def downlink_far(bearer: Bearer, *, notify: bool = False) -> Far:
    """To the eNodeB when there is one; else packets wait, and with ``notify`` the first of them raises an event."""
    waiting = ApplyAction.BUFFER | ApplyAction.NOTIFY_CP if notify else ApplyAction.BUFFER
    action = waiting if bearer.s1u_enb is None else ApplyAction.FORWARD
    return Far(id=2 * bearer.number + 1, apply_action=action, destination_interface=Interface.ACCESS, outer_header_creation=bearer.s1u_enb)


def downlink_discarded(bearer: Bearer) -> SessionChange:
    """What waits is thrown away; follow it with :func:`downlink_far`."""
    return SessionChange(fars=(Far(id=2 * bearer.number + 1, apply_action=ApplyAction.DROP, destination_interface=Interface.ACCESS),))


def uplink_of(bearer: Bearer) -> SessionChange:
    """Only what the UE sends, for a bearer whose eNodeB's end is not known yet."""
    return SessionChange(pdrs=bearer_pdrs(bearer)[:1], fars=(uplink_far(bearer),), urrs=() if bearer.meter is None else (bearer.meter,))


def downlink_of(bearer: Bearer) -> SessionChange:
    """The other half."""
    return SessionChange(pdrs=bearer_pdrs(bearer)[1:], fars=(downlink_far(bearer),))


def removed_bearer(bearer: Bearer) -> SessionChange:
    up, down = 2 * bearer.number, 2 * bearer.number + 1
    return SessionChange(remove_pdrs=(up, down), remove_fars=(up, down), remove_urrs=_meters(bearer))


def abandoned_bearer(bearer: Bearer) -> SessionChange:
    """One that has never had more than :func:`uplink_of`."""
    return SessionChange(remove_pdrs=(2 * bearer.number,), remove_fars=(2 * bearer.number,), remove_urrs=_meters(bearer))


def _meters(bearer: Bearer) -> tuple[int, ...]:
    return () if bearer.meter is None else (bearer.meter.id,)


def number_of(far_id: int) -> int:
    """Of the bearer that the FAR belongs to."""
    return far_id >> 1


def is_downlink(far_id: int) -> bool:
    return bool(far_id & 1)


def far_end(fteid: Fteid) -> FTeid:
    """A peer's F-TEID element as the forwarder wants it."""
    return FTeid(teid=fteid.teid, address=fteid.host)


def element(interface_type: InterfaceType, end: FTeid) -> Fteid:
    """A tunnel end of ours as the peer wants it."""
    return gtpv2.Fteid.at(interface_type, end.teid, end.address)
