"""Filters of a Final-Unit-Indication: what a user without credit may still reach (RFC 8506 clauses 8.34 and 8.36, RFC 6733 clause 4.3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from urllib.parse import urlsplit

from epc.dataplane.rules import SdfFilter
from epc.wire.diameter.charging import FinalUnitAction, FinalUnitIndication, RedirectAddressType

_LONGEST_URL = 1000             # of what the user plane sends in one segment


@dataclass(frozen=True, slots=True)
class Verdict:
    """Packets that ``sdf`` fits pass, or do not; the first one that fits decides."""

    passes: bool
    sdf: SdfFilter


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the operator's configuration adds to an OCS's Final-Unit-Indication."""

    named: Mapping[str, tuple[Verdict, ...]]            # by Filter-Id
    while_redirected: tuple[Verdict, ...]
    dns_servers: tuple[IPv4Address, ...]


def read_filter_rule(text: str) -> Verdict:
    """An IPFilterRule: ``permit in ip from assigned to 10.9.0.1`` says of uplink packets what ``permit out ip from 10.9.0.1 to assigned``
    says of downlink ones; either serves both directions here. Raises ``ValueError`` for what this form cannot say.
    """
    words = text.split()
    if len(words) < 7 or words[0] not in ("permit", "deny") or words[1] not in ("in", "out") or "to" not in words[4:]:
        raise ValueError(f"filter rule {text!r}: not of the form 'permit|deny in|out PROTOCOL from ... to ...'")
    to = words.index("to", 4)
    source, destination = words[4:to], words[to + 1:]
    if words[1] == "in":
        source, destination = destination, source
    source = ["any" if word == "assigned" else word for word in source]
    return Verdict(words[0] == "permit", SdfFilter.from_flow_description(" ".join(["permit out", words[2], "from", *source, "to", *destination])))


def redirect_url(restriction: FinalUnitIndication) -> str | None:
    """Where HTTP requests are sent; None when the server is none that HTTP can be sent to."""
    url = _redirect_server(restriction)
    try:
        parts = urlsplit(url or "")
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return url if is_http and url is not None and len(url) <= _LONGEST_URL and all("!" <= letter <= "~" for letter in url) else None


def _redirect_server(restriction: FinalUnitIndication) -> str | None:
    server = restriction.redirect_server
    if server is None:
        return None
    address = server.redirect_server_address
    if server.redirect_address_type == RedirectAddressType.IPV4_ADDRESS:
        return f"http://{address}/"
    if server.redirect_address_type == RedirectAddressType.IPV6_ADDRESS:
        return f"http://[{address}]/"
    return address if server.redirect_address_type == RedirectAddressType.URL else None


def redirect_server_filter(url: str) -> SdfFilter | None:
    """The server itself has to be reached. Its address must be in the URL: names are resolved by nobody here."""
    try:
        return SdfFilter.from_flow_description(f"permit out ip from {ip_address(urlsplit(url).hostname or '')} to assigned")
    except ValueError:
        return None


def unknown_filters(restriction: FinalUnitIndication, allowances: Allowances) -> list[str]:
    """What of a Final-Unit-Indication cannot be done: nothing passes on account of it."""
    problems = [f"no filter is called {name}" for name in restriction.filter_id if name not in allowances.named]
    for text in restriction.restriction_filter_rule:
        try:
            read_filter_rule(text)
        except ValueError as error:
            problems.append(str(error))
    if restriction.final_unit_action == FinalUnitAction.REDIRECT and redirect_url(restriction) is None:
        problems.append(f"HTTP cannot be redirected to {_redirect_server(restriction)}")
    return problems


def dns_filters(servers: Iterable[object]) -> tuple[SdfFilter, ...]:
    """Names are looked up before anything is asked for that could be redirected."""
    return tuple(SdfFilter.from_flow_description(f"permit out {protocol} from {server} 53 to assigned") for server in servers for protocol in (17, 6))
