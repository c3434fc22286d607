"""S1 Setup (TS 36.413 clause 8.7.3) and MME Configuration Update (clause 8.7.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Timer, procedure
from epc.wire.s1ap import (
    MMEConfigurationUpdate,
    MMEConfigurationUpdateAcknowledge,
    PagingDRX,
    S1SetupFailure,
    S1SetupRequest,
    S1SetupResponse,
    SupportedTAsItem,
    encode_plmn_identity,
)
from ran.enb.causes import Refusal
from ran.enb.config import EnbConfig
from ran.enb.identity import global_enb_id

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb

_PAGING_DRX: dict[int, PagingDRX] = {32: "v32", 64: "v64", 128: "v128", 256: "v256"}


def setup_request(config: EnbConfig) -> S1SetupRequest:
    plmns = tuple(encode_plmn_identity(plmn) for plmn in config.plmns)
    return S1SetupRequest(
        global_enb_id=global_enb_id(config), enb_name=config.name,
        supported_tas=tuple(SupportedTAsItem(tac=tac.to_bytes(2, "big"), broadcast_plmns=plmns) for tac in config.tacs),
        default_paging_drx=_PAGING_DRX[config.default_paging_drx])


@procedure(spec="TS 36.413 clause 8.7.3")
async def s1_setup(enb: Enb, link: MmeLink) -> None:
    """The first procedure on an association. An MME that refuses says how long to wait before the next attempt."""
    timer = Timer("S1 Setup", enb.config.timers.s1_setup_s)
    answer: S1SetupResponse | S1SetupFailure = await link.dialogue.request(setup_request(enb.config), S1SetupResponse, S1SetupFailure, timer=timer)
    if isinstance(answer, S1SetupFailure):
        if answer.time_to_wait is not None and answer.time_to_wait[1:-1].isdigit():
            link.wait_s = float(answer.time_to_wait[1:-1])      # "v10s"
        raise Refusal(answer.cause, f"S1 Setup refused by {link.peer.address}")
    link.learn(answer)
    enb.log.info("s1.ready", mme=link.mme_name, address=str(link.peer.address), capacity=link.relative_capacity)


def mme_configuration_update(enb: Enb, link: MmeLink, update: MMEConfigurationUpdate) -> None:
    """The MME changed its name, its identities or its capacity; UE-associated connections stay as they are."""
    if update.mme_name is not None:
        link.mme_name = update.mme_name
    if update.served_gummeis is not None:
        link.learn_gummeis(update.served_gummeis)
    if update.relative_mme_capacity is not None:
        link.relative_capacity = update.relative_mme_capacity
    link.send(MMEConfigurationUpdateAcknowledge())
