"""States of a UE as TS 24.301 clauses 5.1.3.2 and 5.1.3.3 name them, and what its procedures report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from epc.wire import nas


class EmmState(Enum):
    """Main states: TS 24.301 clause 5.1.3.2.1."""

    NULL = "EMM-NULL"       # switched off
    DEREGISTERED = "EMM-DEREGISTERED"
    REGISTERED_INITIATED = "EMM-REGISTERED-INITIATED"
    REGISTERED = "EMM-REGISTERED"
    DEREGISTERED_INITIATED = "EMM-DEREGISTERED-INITIATED"
    TRACKING_AREA_UPDATING_INITIATED = "EMM-TRACKING-AREA-UPDATING-INITIATED"
    SERVICE_REQUEST_INITIATED = "EMM-SERVICE-REQUEST-INITIATED"


class EmmSubstate(Enum):
    """Substates of EMM-DEREGISTERED and EMM-REGISTERED that this UE tells apart: TS 24.301 clauses 5.1.3.2.2 and 5.1.3.2.4."""

    NORMAL_SERVICE = "NORMAL-SERVICE"
    ATTEMPTING_TO_ATTACH = "ATTEMPTING-TO-ATTACH"
    ATTEMPTING_TO_UPDATE = "ATTEMPTING-TO-UPDATE"
    LIMITED_SERVICE = "LIMITED-SERVICE"
    PLMN_SEARCH = "PLMN-SEARCH"
    NO_IMSI = "NO-IMSI"


class UpdateStatus(Enum):
    """EPS update status: TS 24.301 clause 5.1.3.3."""

    EU1_UPDATED = "EU1: UPDATED"
    EU2_NOT_UPDATED = "EU2: NOT UPDATED"
    EU3_ROAMING_NOT_ALLOWED = "EU3: ROAMING NOT ALLOWED"


@dataclass(slots=True, kw_only=True)
class DedicatedBearer:
    """A dedicated bearer: what it is good for, and which packets take it."""

    qos: nas.EpsQos
    filters: dict[int, nas.PacketFilter]        # the TFT, by packet filter identifier


@dataclass(slots=True, kw_only=True)
class PdnConnection:
    """A PDN connection with its default bearer ``ebi`` and the dedicated bearers linked to it."""

    ebi: int                # EPS bearer identity of the default bearer, allocated by the MME
    apn: str
    address: nas.PdnAddress
    qos: nas.EpsQos
    apn_ambr: nas.ApnAmbr | None = None
    dns_servers: tuple[IPv4Address, ...] = ()
    mtu_octets: int | None = None
    dedicated: dict[int, DedicatedBearer]       # by EPS bearer identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a procedure of the UE ended.

    On failure ``emm_cause`` or ``esm_cause`` says what the network answered (an attach rejected with #19 has both), ``timer`` which timer ran
    out, and ``reason`` the same in words. An attach fills ``ip`` (``None`` for IPv6 only), ``guti``, ``ebi``, ``apn`` and ``attempts``; a PDN
    connectivity procedure ``ip``, ``ebi`` and ``apn``.
    """

    success: bool
    reason: str = ""
    emm_cause: int | None = None
    esm_cause: int | None = None
    timer: str | None = None
    attempts: int = 1
    ip: IPv4Address | None = None
    guti: nas.Guti | None = None
    ebi: int | None = None
    apn: str | None = None

    def __str__(self) -> str:
        if self.success:
            return "success"
        causes = {"EMM cause": self.emm_cause, "ESM cause": self.esm_cause}
        details = [f"{name} #{int(cause)}" for name, cause in causes.items() if cause is not None] + ([self.timer] if self.timer else [])
        return (self.reason or "failed") + (f" ({', '.join(details)})" if details else "")
