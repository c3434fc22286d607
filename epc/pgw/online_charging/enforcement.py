"""What each stage of credit control means for packets: rules for the forwarder (TS 32.299 clause 6.5, TS 29.244 clause 5.4).

The rules of a session are made first as if nothing were charged; :func:`charged` then sends the packets of a charging key another way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from epc.dataplane.rules import ApplyAction, Far, Interface, Pdr
from epc.pgw.charging_filters import Allowances, Verdict, dns_filters, read_filter_rule, redirect_server_filter, redirect_url
from epc.pgw.online_charging.session import OnlineSession, Service, Stage
from epc.wire.diameter.charging import FinalUnitAction

if TYPE_CHECKING:
    from epc.pgw.context import PccRule

# identifiers of rules that exist for credit control only; charging key n has those with + n or + 2n (uplink) and + 2n + 1 (downlink)
_DROP = 10_000
_HOLD = 11_000
_REDIRECT = 13_000
_REDIRECT_DOWNLINK = 20_000     # and n * 1000, and the bearer's own FAR
_BEARERS = 1000
FIRST_FILTER_PDR = 40_000


def charged(session: OnlineSession, rule: PccRule, pdrs: tuple[Pdr, ...], first_id: int) -> tuple[Pdr, ...]:
    """The PDRs of a PCC rule as credit control will have them; ``first_id`` is for more of them, above what was used in this session."""
    service = session.service_of(rule)
    if service is None:
        return pdrs
    match service.stage:
        case Stage.GRANTED | Stage.UNCONTROLLED | Stage.FREE:
            return pdrs
        case Stage.IDLE | Stage.ASKING:
            return tuple([replace(pdr, far_id=_hold(service, pdr.source_interface)) for pdr in pdrs])
        case Stage.BLOCKED:
            return tuple([replace(pdr, far_id=_DROP) for pdr in pdrs])
    return (*_allowed(service, pdrs, session.allowances, first_id), *[replace(pdr, far_id=_elsewhere(service, pdr)) for pdr in pdrs])


def charging_fars(session: OnlineSession, pdrs: Iterable[Pdr], bearers: Iterable[Far], network_instance: str) -> list[Far]:
    """The FARs that ``pdrs`` name beyond those of the ``bearers``."""
    named = {pdr.far_id for pdr in pdrs}
    fars = [Far(id=_DROP, apply_action=ApplyAction.DROP)] if _DROP in named else []
    for service in session.services.values():
        for interface in Interface:
            far_id = _hold(service, interface)
            if far_id in named:
                fars.append(Far(id=far_id, apply_action=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP, destination_interface=_opposite(interface)))
        if _REDIRECT + service.number in named and service.restriction is not None:
            fars.append(Far(id=_REDIRECT + service.number, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE,
                            network_instance=network_instance, redirect_url=redirect_url(service.restriction)))
            fars += [replace(bearer, id=far_id, redirect_url=redirect_url(service.restriction)) for bearer in bearers
                     if (far_id := _redirect_downlink(service, bearer.id)) in named]
    return fars


def service_of_held_packet(session: OnlineSession, far_id: int) -> Service | None:
    """Whose first packet is held by a FAR."""
    number, _ = divmod(far_id - _HOLD, 2)
    return next((service for service in session.services.values() if service.number == number), None) if _HOLD <= far_id < _REDIRECT else None


def _hold(service: Service, source: Interface) -> int:
    return _HOLD + 2 * service.number + (source is Interface.CORE)


def _opposite(interface: Interface) -> Interface:
    return Interface.CORE if interface is Interface.ACCESS else Interface.ACCESS


def _elsewhere(service: Service, pdr: Pdr) -> int:
    """Where packets go that no filter lets pass."""
    restriction = service.restriction
    if restriction is None or restriction.final_unit_action != FinalUnitAction.REDIRECT or redirect_url(restriction) is None:
        return _DROP
    return _REDIRECT + service.number if pdr.source_interface is Interface.ACCESS else _redirect_downlink(service, pdr.far_id)


def _redirect_downlink(service: Service, far_id: int) -> int:
    """What is answered in the web server's stead goes the bearer's way to the UE, like what comes from the portal; the rest goes nowhere."""
    return _REDIRECT_DOWNLINK + service.number * _BEARERS + far_id


def _allowed(service: Service, pdrs: tuple[Pdr, ...], allowances: Allowances, first_id: int) -> list[Pdr]:
    """What a user without credit may reach, uncounted: before the rule's own PDRs, in the order of the filters."""
    allowed: list[Pdr] = []
    for verdict in verdicts_of(service, allowances):
        for pdr in pdrs:
            allowed.append(replace(
                pdr, id=first_id + len(allowed), sdf_filters=(verdict.sdf,), application_id=None, far_id=pdr.far_id if verdict.passes else _DROP,
                precedence=max(pdr.precedence - 1, 0)))
    return allowed


def verdicts_of(service: Service, allowances: Allowances) -> list[Verdict]:
    restriction = service.restriction
    if restriction is None:
        return []
    verdicts = []
    for text in restriction.restriction_filter_rule:
        try:
            verdicts.append(read_filter_rule(text))
        except ValueError:
            continue                    # ``unknown_filters`` has told it
    for name in restriction.filter_id:
        verdicts += allowances.named.get(name, ())
    if restriction.final_unit_action == FinalUnitAction.REDIRECT:
        url = redirect_url(restriction)
        server = None if url is None else redirect_server_filter(url)
        verdicts += [Verdict(True, sdf) for sdf in (*([] if server is None else [server]), *dns_filters(allowances.dns_servers))]
        verdicts += allowances.while_redirected
    return verdicts

