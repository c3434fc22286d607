"""Diameter (RFC 6733) with the applications S6a (TS 29.272), Gx (TS 29.212), Rx (TS 29.214), S9 (TS 29.215) and Gy (TS 32.299), release 15.

``encode(message, hop_by_hop=..., end_to_end=...)`` and ``decode(octets) -> Packet(header, message)``. Messages are frozen
dataclasses whose fields are AVPs (``epc.wire.diameter.schema`` explains how they map); a new application is a module of such
classes with ``@command``. The modules:

* ``base``: CER/CEA, DWR/DWA, DPR/DPA, STR/STA, ASR/ASA; ``s6a`` with ``subscription``; ``gx`` with ``policy``;
  ``rx``; ``s9``; ``gy`` with ``charging``
* ``groups``: Grouped AVPs, enumerations and application identifiers that they share
* ``results``: ``ResultCode``, ``ExperimentalResultCode``, ``DiameterError``
"""

from epc.wire.diameter import base, gx, gy, rx, s6a, s9
from epc.wire.diameter.avp import VENDOR_3GPP, VENDOR_ETSI, Avp, TbcdDigits
from epc.wire.diameter.codec import (
    HEADER_OCTETS,
    Answer,
    ErrorAnswer,
    Header,
    Message,
    Packet,
    Request,
    UnknownCommand,
    command_name,
    command_of,
    decode,
    decode_header,
    encode,
    error_answer,
    is_known_application,
    with_proxy_info,
)
from epc.wire.diameter.groups import (
    BASE_APPLICATION,
    GX_APPLICATION,
    GY_APPLICATION,
    RELAY_APPLICATION,
    RX_APPLICATION,
    S6A_APPLICATION,
    S9_APPLICATION,
    AuthSessionState,
    ExperimentalResult,
    RatType,
    SupportedFeatures,
    TerminationCause,
    VendorSpecificApplicationId,
    experimental_result,
)
from epc.wire.diameter.results import DiameterError, ExperimentalResultCode, ResultCode
from epc.wire.diameter.schema import FailedAvp

__all__ = [
    "BASE_APPLICATION",
    "GX_APPLICATION",
    "GY_APPLICATION",
    "HEADER_OCTETS",
    "RELAY_APPLICATION",
    "RX_APPLICATION",
    "S6A_APPLICATION",
    "S9_APPLICATION",
    "VENDOR_3GPP",
    "VENDOR_ETSI",
    "Answer",
    "AuthSessionState",
    "Avp",
    "DiameterError",
    "ErrorAnswer",
    "ExperimentalResult",
    "ExperimentalResultCode",
    "FailedAvp",
    "Header",
    "Message",
    "Packet",
    "RatType",
    "Request",
    "ResultCode",
    "SupportedFeatures",
    "TbcdDigits",
    "TerminationCause",
    "UnknownCommand",
    "VendorSpecificApplicationId",
    "base",
    "command_name",
    "command_of",
    "decode",
    "decode_header",
    "encode",
    "error_answer",
    "experimental_result",
    "gx",
    "gy",
    "is_known_application",
    "rx",
    "s6a",
    "s9",
    "with_proxy_info",
]
