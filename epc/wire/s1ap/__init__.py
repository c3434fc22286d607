"""S1AP, the application protocol between eNodeB and MME: all messages of TS 36.413 Release 17.

One class a message, called as in the ASN.1 without the hyphens; the fields are the information elements by their id's name
(``mme_ue_s1ap_id``, ``nas_pdu``, ``e_rab_to_be_setup_list_ctxt_su_req``), extension elements among them, optional ones ``None``.
Enumerations are the ASN.1 names as ``str``, a CHOICE is ``(choice, value)``: ``Cause("nas", "normal-release")``; bit strings are
:class:`BitString`. What the schema does not know is kept in ``unknown``; an enumeration's unknown value reads ``"unknown-7"``,
an unknown alternative of a CHOICE likewise with its octets. PLMN identities are octets, made and read by :func:`encode_plmn_identity` and
:func:`decode_plmn_identity`.

The classes are made when they are asked for: all three hundred would cost a node 0.2 s at its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire.aper.values import BitString, PrivateIE, UnknownIE
from epc.wire.s1ap.codec import decode, decode_type, encode, encode_type
from epc.wire.s1ap.errors import S1apSyntaxError
from epc.wire.s1ap.message import Kind, Message
from epc.wire.s1ap.plmn import decode_plmn_identity, encode_plmn_identity

if TYPE_CHECKING:
    from epc.wire.s1ap.bearers import *  # noqa: F403
    from epc.wire.s1ap.context import *  # noqa: F403
    from epc.wire.s1ap.further import *  # noqa: F403
    from epc.wire.s1ap.handover import *  # noqa: F403
    from epc.wire.s1ap.ies import *  # noqa: F403
    from epc.wire.s1ap.ies_location import *  # noqa: F403
    from epc.wire.s1ap.ies_measurement import *  # noqa: F403
    from epc.wire.s1ap.ies_mobility import *  # noqa: F403
    from epc.wire.s1ap.interface import *  # noqa: F403
else:
    from epc.wire.s1ap.catalogue import __dir__, __getattr__  # noqa: F401

__all__ = [
    "BitString", "Kind", "Message", "PrivateIE", "S1apSyntaxError", "UnknownIE", "decode", "decode_plmn_identity", "decode_type", "encode",
    "encode_plmn_identity", "encode_type"]
