"""Charging data records of the PS domain: S-GW-CDR and P-GW-CDR (TS 32.298 release 15), and the file they travel in (TS 32.297).

:func:`encode` and :func:`decode` are BER, :func:`to_json` and :func:`from_json` the same facts as plain data. The tables come from pycrate's
ASN.1, which the tests compare with; at run time pycrate is not needed.
"""

from epc.wire.cdr.causes import (
    CauseForRecClosing,
    ChangeCondition,
    ChChSelectionMode,
    RecordType,
    ServiceConditionChange,
    ServingNodeType,
)
from epc.wire.cdr.file import ClosureReason, FileHeader, frame, split
from epc.wire.cdr.records import (
    EpcQos,
    PdpType,
    PgwRecord,
    Record,
    ServiceData,
    SgwRecord,
    TrafficVolume,
    decode,
    encode,
    from_json,
    plain,
    to_json,
)

__all__ = [
    "CauseForRecClosing",
    "ChChSelectionMode",
    "ChangeCondition",
    "ClosureReason",
    "EpcQos",
    "FileHeader",
    "PdpType",
    "PgwRecord",
    "Record",
    "RecordType",
    "ServiceConditionChange",
    "ServiceData",
    "ServingNodeType",
    "SgwRecord",
    "TrafficVolume",
    "decode",
    "encode",
    "frame",
    "from_json",
    "plain",
    "split",
    "to_json",
]
