"""What an attach between operators came to, in a few sentences: who made the key, who decided, who gave the address."""

from __future__ import annotations

from collections.abc import Sequence

from epc.lab.ladder import LadderEvent, LadderObserver

_AUTHENTICATION = "Authentication Information Request (AIR)"
_LOCATION = "Update Location Request (ULR)"
_POLICY = "Credit Control Request (CCR)"


def story_of(imsi: str, ip: str, observer: LadderObserver) -> list[str]:
    """From the messages about ``imsi``; empty where there is only one operator."""
    if not observer.lifelines.operators:
        return []
    events = [event for event in observer.events if event.imsi == imsi]
    story = []
    if way := _way(events, _AUTHENTICATION):
        story.append(f"Authentication vector: made by {_whose(observer, way[-1])}; asked for by {' > '.join(way)}.")
    if way := _way(events, _LOCATION):
        story.append(f"Subscription and leave to roam: from {_whose(observer, way[-1])}.")
    gateway = next((event.destination for event in reversed(events) if event.name == "Create Session Request" and event.interface == "S5/S8"), "")
    if gateway:
        names = [event.detail.split()[0] for event in observer.events if event.name == "DNS query" and ".apn." in event.detail]
        asked = f", found by DNS under {names[-1]}.3gppnetwork.org" if names else ""
        story.append(f"PDN gateway: {_whose(observer, gateway)}{asked}.")
    if policy := [event for event in events if event.interface in ("Gx", "S9") and event.name == _POLICY and event.detail.startswith("initial")]:
        story.append(f"Policy: decided by {_whose(observer, policy[-1].destination)}.")
    if ip and gateway:
        story.append(f"Address: {ip}, of {_whose(observer, gateway)}.")
    return story


def _way(events: Sequence[LadderEvent], name: str) -> list[str]:
    """The nodes that the latest such request passed, from its sender to the one that answered it."""
    hops = [event for event in events if event.name == name]
    start = max((i for i, event in enumerate(hops) if event.interface == "S6a" and event.rung.source.endswith("mme")), default=None)
    if start is None:
        return []
    way = [hops[start].source]
    for hop in hops[start:]:
        if hop.source == way[-1]:
            way.append(hop.destination)
    return way


def _whose(observer: LadderObserver, node: str) -> str:
    operator = observer.lifelines.operator_of(node)
    return f"{node} ({operator})" if operator else node
