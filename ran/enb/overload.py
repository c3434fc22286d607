"""Overload Start and Stop (TS 36.413 clauses 8.7.6 and 8.7.7); what they mean for UEs that connect is in ``nas_transport``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.s1ap import OverloadStart, OverloadStop

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.node import Enb


def overload_start(enb: Enb, link: MmeLink, message: OverloadStart) -> None:
    link.overload = message.overload_response
    enb.log.warning("s1.overload", mme=link.mme_name, action=str(message.overload_response.value))


def overload_stop(enb: Enb, link: MmeLink, message: OverloadStop) -> None:
    link.overload = None
    enb.log.info("s1.overload_over", mme=link.mme_name)
