"""Authentication Information Retrieval: TS 29.272 clause 5.2.3.1.

Every vector of a request uses a fresh SQN, and the last one is on disk before the answer goes out: one write a request. Reserving
blocks of SQNs in memory would save nothing, since a subscriber seldom authenticates twice in a row, and would waste what is
left of every block at a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.hss.store import Algorithm, Subscriber
from epc.procedure import Reject
from epc.security.authentication import AuthenticationAlgorithm
from epc.security.eps_aka import SQN_MASK, generate_vector, next_sqn, resynchronise, verify_auts
from epc.security.milenage import Milenage
from epc.security.tuak import Tuak
from epc.wire.diameter import ExperimentalResultCode, ResultCode
from epc.wire.diameter.s6a import (
    AuthenticationInfo,
    AuthenticationInformationAnswer,
    AuthenticationInformationRequest,
    EUtranVector,
)

if TYPE_CHECKING:
    from epc.hss.node import Hss

RAND_OCTETS = 16
AUTS_OCTETS = 14
SEQ_STEP = 64           # more than one step of SQN: what is left below the end of 48 bits is not worth using


async def authentication_information(hss: Hss, request: AuthenticationInformationRequest) -> AuthenticationInformationAnswer:
    # 1 is the subscriber known, and for EPS
    subscriber = await hss.eps_subscriber(request.user_name)

    # 2 may nodes of that realm ask for vectors of that network
    if hss.config.authentication.check_serving_network and not _speaks_for(request.origin_realm, request.visited_plmn_id):
        raise Reject(ResultCode.DIAMETER_AUTHORIZATION_REJECTED, f"{request.origin_realm} asks for vectors of {request.visited_plmn_id}")

    wanted = request.requested_eutran_authentication_info
    if wanted is None:
        raise Reject(ResultCode.DIAMETER_MISSING_AVP, "Requested-EUTRAN-Authentication-Info")
    number = max(1, min(wanted.number_of_requested_vectors or 1, hss.config.authentication.max_vectors))
    algorithm = _algorithm(subscriber)

    # 3 the SQN: the UE's, if it says that ours is out of range, then one step for each vector
    start = subscriber.sqn
    if wanted.re_synchronization_info is not None:
        start = _resynchronised(hss, subscriber, algorithm, wanted.re_synchronization_info)
    while True:
        sqns = _following(start, number)
        if await hss.store.advance_sqn(subscriber.imsi, old=subscriber.sqn, new=sqns[-1]):
            break
        # Another request for the same subscriber was faster; its SQNs are gone.
        subscriber = await hss.subscriber(request.user_name)
        start = subscriber.sqn

    # 4 the vectors, bound to the visited network
    vectors = []
    for item, sqn in enumerate(sqns, 1):
        vector = generate_vector(algorithm, rand=hss.entropy.randbytes(RAND_OCTETS), sqn=sqn, plmn=request.visited_plmn_id, amf=subscriber.amf)
        vectors.append(EUtranVector(
            item_number=item if number > 1 else None, rand=vector.rand, xres=vector.xres, autn=vector.autn, kasme=vector.kasme))
    hss.vectors.inc(number)
    return AuthenticationInformationAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=hss.config.origin_host,
        origin_realm=hss.config.origin_realm, authentication_info=AuthenticationInfo(e_utran_vector=tuple(vectors)))


def _algorithm(subscriber: Subscriber) -> AuthenticationAlgorithm:
    try:
        return (Milenage if subscriber.algorithm is Algorithm.MILENAGE else Tuak)(subscriber.k, subscriber.opc)
    except ValueError as error:
        raise Reject(ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE, str(error)) from error


def _following(start: int, number: int) -> list[int]:
    if start > SQN_MASK - number * SEQ_STEP:
        # TS 33.102 clause C.3: it takes centuries to get here, or a wrong value in the database.
        raise Reject(ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE, "SQN is used up")
    sqns = [next_sqn(start)]
    while len(sqns) < number:
        sqns.append(next_sqn(sqns[-1]))
    return sqns


def _resynchronised(hss: Hss, subscriber: Subscriber, algorithm: AuthenticationAlgorithm, info: bytes) -> int:
    """The SQN to go on from: TS 33.102 clause 6.3.5. A wrong AUTS changes nothing, new vectors are sent all the same."""
    if len(info) != RAND_OCTETS + AUTS_OCTETS:
        raise Reject(ResultCode.DIAMETER_INVALID_AVP_VALUE, f"Re-Synchronization-Info of {len(info)} octets; 30 are needed")
    sqn_ms = verify_auts(algorithm, rand=info[:RAND_OCTETS], auts=info[RAND_OCTETS:])
    hss.resynchronisations.labels(result="auts-wrong" if sqn_ms is None else "success").inc()
    if sqn_ms is None:
        hss.log.warning("authentication.auts_wrong", imsi=subscriber.imsi)
        return subscriber.sqn
    return resynchronise(subscriber.sqn, sqn_ms)


def _speaks_for(realm: str, plmn: str) -> bool:
    """Whether ``realm`` is the EPC realm of ``plmn`` (TS 23.003 clause 19.2)."""
    return realm.lower() == f"epc.mnc{plmn[3:].zfill(3)}.mcc{plmn[:3]}.3gppnetwork.org"
