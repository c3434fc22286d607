"""Authentication with a vector of the HSS: TS 24.301 clause 5.4.2, TS 33.401 clause 6.1."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from epc.mme.identity import identify
from epc.procedure import Reject
from epc.wire import nas
from epc.wire.diameter.s6a import EUtranVector

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

_KEY_SETS = 7               # eKSI 0 to 6; 7 says that there is none


class AuthenticationFailed(Reject):
    """The phone is not who it says, or its USIM does not accept the network: the answer is AUTHENTICATION REJECT."""


class Challenge:
    """A vector in use, and the key set identifier that it will have."""

    __slots__ = ("ksi", "vector")

    def __init__(self, vector: EUtranVector, ksi: int) -> None:
        self.vector = vector
        self.ksi = ksi


async def authenticate(mme: Mme, ue: UeContext) -> Challenge:
    """The challenge that the phone has met. ``ue.imsi`` may change: a phone known by its GUTI is asked for the IMSI when the answer does not fit.

    Raises :class:`AuthenticationFailed`, :class:`Reject` (no vector) or ``TimerExpired`` (T3460).
    """
    ksi = 0 if ue.security is None else (ue.security.ksi + 1) % _KEY_SETS
    asked_for_imsi = ue.claimed is None        # an IMSI that came from the phone itself needs no check
    resynchronised = False
    vector = await mme.s6a.authentication_information(ue)
    while True:
        challenge = nas.AuthenticationRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=ksi), rand=vector.rand, autn=vector.autn)
        answer = await ue.nas.request(challenge, nas.AuthenticationResponse, nas.AuthenticationFailure, timer=mme.timers.t3460)
        match answer:
            case nas.AuthenticationResponse(res=res) if hmac.compare_digest(res, vector.xres):
                return Challenge(vector, ksi)

            # abnormal case e) of clause 5.4.2.7: one resynchronisation, no more
            case nas.AuthenticationFailure(emm_cause=nas.EmmCause.SYNCH_FAILURE, auts=auts):
                if auts is None or resynchronised:
                    raise AuthenticationFailed(nas.EmmCause.SYNCH_FAILURE, "a second time" if resynchronised else "without AUTS")
                resynchronised = True
                mme.resynchronisations.inc()
                vector = await mme.s6a.authentication_information(ue, re_synchronization_info=vector.rand + auts)
                continue

        # clause 5.4.2.5 and abnormal cases c) and d): perhaps the GUTI led to the wrong IMSI
        cause = answer.emm_cause if isinstance(answer, nas.AuthenticationFailure) else nas.EmmCause.ILLEGAL_UE
        if asked_for_imsi:
            raise AuthenticationFailed(cause, "RES differs from XRES" if cause == nas.EmmCause.ILLEGAL_UE else "the USIM refused the challenge")
        asked_for_imsi = True
        imsi = await identify(mme, ue)
        if imsi == ue.imsi:
            raise AuthenticationFailed(cause, "and the IMSI is right")
        ue.imsi = imsi
        vector = await mme.s6a.authentication_information(ue)
