"""Identification (TS 24.301 clause 5.4.4) and GUTI reallocation (clause 5.4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas

if TYPE_CHECKING:
    from ran.ue.ue import Ue

_NO_IDENTITY = nas.OtherIdentity(octets=b"\xf0")     # TS 24.008 clause 10.5.1.4: type of identity 000


def answer(ue: Ue, request: nas.IdentityRequest) -> None:
    """The identity asked for, or "no identity" when the UE has none of that kind."""
    ue.send_emm(nas.IdentityResponse(mobile_identity=_identity(ue, request.identity_type)))


def _identity(ue: Ue, identity_type: int) -> nas.MobileIdentity:
    match identity_type:
        case nas.IdentityType.IMSI:
            return nas.ImsiIdentity(imsi=ue.sim.imsi)
        case nas.IdentityType.IMEI:
            return nas.ImeiIdentity(imei=ue.imeisv[:14] + "0")      # the check digit is not transmitted: TS 23.003 clause 6.2.1
        case nas.IdentityType.IMEISV:
            return nas.ImeisvIdentity(imeisv=ue.imeisv)
        case nas.IdentityType.TMSI if ue.guti is not None:
            return nas.TmsiIdentity(tmsi=ue.guti.m_tmsi)
    return _NO_IDENTITY


def reallocated(ue: Ue, command: nas.GutiReallocationCommand) -> None:
    """A new GUTI, perhaps with a new TAI list."""
    if isinstance(command.guti, nas.Guti):
        ue.guti = command.guti
    if command.tai_list is not None:
        ue.tai_list = command.tai_list.tais
    ue.send_emm(nas.GutiReallocationComplete())
