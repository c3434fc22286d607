"""Attach for EPS services: TS 24.301 clause 5.5.1.2, TS 23.401 clause 5.3.2.1.

Left out: combined attach with IMSI (clause 5.5.1.3), emergency attach, access class barring (abnormal case a), T3247.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.procedure import Reject, TimerExpired, procedure, step
from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.nas import EmmCause
from ran.ue import rejection
from ran.ue.esm import default_bearer, pdn_connectivity
from ran.ue.indications import Answer, ConnectionReleased, EsmRefused, answering, failure, give
from ran.ue.state import EmmState, EmmSubstate, Result, UpdateStatus
from ran.ue.timers import MAXIMUM_ATTEMPTS, T3346, T3402, T3410, T3411, T3440

if TYPE_CHECKING:
    from ran.ue.ue import Ue


@procedure(spec="TS 24.301 clause 5.5.1.2")
async def attach(ue: Ue, answer: Answer | None, apn: str | None, max_attempts: int) -> None:
    """Attempts until one succeeds, the network's answer is final, or the attempts are used up."""
    with answering(answer):
        if not ue.sim.valid:
            raise Reject(EmmCause.ILLEGAL_UE, "the USIM is invalid until the UE is switched off")
        ue.stop_timer(T3402)
        ue.stop_timer(T3346)
        ue.attempts = 0
        tries = 0
        while True:
            tries += 1
            try:
                give(answer, await _attempt(ue, apn, tries))
                return
            except (Reject, TimerExpired, ConnectionError) as error:
                # a final answer: clause 5.5.1.2.5
                if isinstance(error, Reject) and _is_final(ue, error):
                    give(answer, failure(error, tries))
                    raise
                # abnormal cases b, c and d: clause 5.5.1.2.6
                ue.attempts = MAXIMUM_ATTEMPTS if isinstance(error, Reject) and error.cause in rejection.HOPELESS else ue.attempts + 1
                ue.release_bearers()
                ue.enter(EmmState.DEREGISTERED, EmmSubstate.ATTEMPTING_TO_ATTACH)
                ue.tell("attach_failed", reason=str(error), attempt=ue.attempts)
                if ue.attempts >= MAXIMUM_ATTEMPTS:
                    _give_up_for_now(ue)
                if ue.attempts >= MAXIMUM_ATTEMPTS or tries >= max_attempts:
                    give(answer, failure(error, tries))
                    raise
            await asyncio.sleep(T3411.seconds)


async def _attempt(ue: Ue, apn: str | None, attempt: int) -> Result:
    """One ATTACH REQUEST and what follows, up to the ATTACH COMPLETE."""
    await _leave_old_connection(ue)
    ue.enter(EmmState.REGISTERED_INITIATED)
    ue.requested_apn = apn

    #  1   Attach Request with PDN Connectivity Request; 2 to 7 (identity, authentication, security) are answered where they arrive
    step(1, "attach-request")
    request = nas.AttachRequest(
        eps_attach_type=nas.EpsAttachType.EPS_ATTACH,
        nas_key_set_identifier=ue.ksi,
        eps_mobile_identity=ue.identity,
        ue_network_capability=ue.capability,
        esm_message_container=nas.encode(pdn_connectivity.initial_request(ue, apn)),
        last_visited_registered_tai=ue.last_visited_tai,
        old_guti_type=nas.GutiType.NATIVE if ue.guti is not None else None)
    try:
        answer = await ue.emm.request(request, nas.AttachAccept, nas.AttachReject, nas.AuthenticationReject, timer=T3410)
    except TimerExpired:
        # abnormal case c: the NAS signalling connection is released locally
        ue.lose_radio()
        raise
    match answer:
        case nas.AuthenticationReject():
            raise Reject(EmmCause.ILLEGAL_UE, "authentication rejected")
        case nas.AttachReject():
            raise _rejected(ue, answer)

    #  8-9 Attach Accept, answered by Attach Complete
    step(9, "attach-complete")
    assert isinstance(answer, nas.AttachAccept)
    try:
        ebi = _accept(ue, answer)
    except (EsmRefused, WireError) as error:
        # the default bearer cannot be used: the attach makes no sense without it
        ue.send_emm(nas.EmmStatus(emm_cause=EmmCause.INVALID_MANDATORY_INFORMATION))
        raise ConnectionError(f"ATTACH ACCEPT without a usable default bearer: {error}") from None
    connection = ue.pdn_connections[ebi]
    ue.tell("attached", ip=str(connection.address.ipv4_address), ebi=ebi, apn=connection.apn)
    return Result(success=True, ip=connection.address.ipv4_address, guti=ue.guti, ebi=ebi, apn=connection.apn, attempts=attempt)


async def _leave_old_connection(ue: Ue) -> None:
    """An earlier procedure's connection goes first: the network releases it, or the UE does after T3440 (clause 5.3.1.2)."""
    if ue.connected:
        try:
            await ue.emm.wait(ConnectionReleased, timer=T3440)
        except TimerExpired:
            ue.lose_radio()


def _accept(ue: Ue, accept: nas.AttachAccept) -> int:
    """Take what the network allocated, and confirm: clause 5.5.1.2.4. Returns the default bearer's identity."""
    offered = nas.decode(accept.esm_message_container, uplink=False)
    if not isinstance(offered, nas.ActivateDefaultEpsBearerContextRequest):
        raise WireError(f"a {type(offered).__name__} is no default bearer", ie="ESM message container")
    bearer_accept = default_bearer.activate(ue, offered)
    if isinstance(accept.guti, nas.Guti):
        ue.guti = accept.guti
    ue.tai_list = accept.tai_list.tais
    ue.last_visited_tai = ue.tai
    ue.t3412_s = accept.t3412.seconds
    ue.t3402_s = T3402.seconds if accept.t3402 is None or accept.t3402.seconds is None else accept.t3402.seconds
    ue.equivalent_plmns = tuple(accept.equivalent_plmns or ())
    ue.attempts = 0
    ue.forgive(ue.tai)
    ue.re_attach_on_release = False         # that is done
    ue.update_status = UpdateStatus.EU1_UPDATED
    ue.enter(EmmState.REGISTERED)
    ue.send_emm(nas.AttachComplete(esm_message_container=nas.encode(bearer_accept)))
    return offered.eps_bearer_identity


def accepted_again(ue: Ue, accept: nas.AttachAccept) -> None:
    """The network repeats its ATTACH ACCEPT because the ATTACH COMPLETE got lost (clause 5.5.1.2.7 c): so is the answer."""
    if ue.registered:
        try:
            _accept(ue, accept)
        except (EsmRefused, WireError) as error:
            ue.tell("message_discarded", reason=str(error))


def _rejected(ue: Ue, reject: nas.AttachReject) -> Reject:
    """ATTACH REJECT as an exception, with the ESM cause when the container has one."""
    esm_cause = None
    if reject.esm_message_container is not None:
        try:
            inner = nas.decode(reject.esm_message_container, uplink=False)
        except WireError as error:
            ue.tell("message_discarded", reason=str(error))
        else:
            esm_cause = inner.esm_cause if isinstance(inner, nas.PdnConnectivityReject) else None
    if reject.t3402 is not None and reject.t3402.seconds is not None:
        ue.t3402_s = reject.t3402.seconds
    if reject.emm_cause == EmmCause.CONGESTION and reject.t3346 is not None and reject.t3346.seconds:
        # clause 5.5.1.2.5, #22: come back when T3346 is over
        ue.start_timer(T3346._replace(seconds=reject.t3346.seconds), ue.attach_by_itself)
        ue.enter(EmmState.DEREGISTERED, EmmSubstate.ATTEMPTING_TO_ATTACH)
    inner_text = f", {rejection.name(esm_cause)}" if esm_cause is not None else ""
    return Reject(reject.emm_cause, f"{rejection.name(reject.emm_cause)}{inner_text}", inner=esm_cause)


def _is_final(ue: Ue, reject: Reject) -> bool:
    """Carry out what the cause demands; ``False`` for the causes that only count as a failed attempt."""
    if not ue.sim.valid or ue.has_timer(T3346):
        ue.tell("attach_failed", reason=str(reject))
        return True
    cause = reject.cause
    assert isinstance(cause, int)
    if cause == EmmCause.ESM_FAILURE:
        # the same APN or PDN type would be refused again: clause 6.5.1.4
        ue.enter(EmmState.DEREGISTERED)
    elif (effect := rejection.EFFECTS.get(cause)) is None or effect.attach_again:
        return False
    else:
        rejection.apply(ue, cause)
    ue.tell("attach_failed", reason=str(reject))
    return True


def _give_up_for_now(ue: Ue) -> None:
    """After the fifth attempt: forget the registration and try again when T3402 is over."""
    ue.forget_registration()
    ue.update_status = UpdateStatus.EU2_NOT_UPDATED
    ue.start_timer(T3402._replace(seconds=ue.t3402_s), ue.attach_by_itself)
