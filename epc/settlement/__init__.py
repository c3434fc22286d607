"""Settlement between operators: TAP files from S-GW-CDRs, wholesale rating, and the comparison with what everybody else counted.

:func:`settle` is pure: records and counters in, a :class:`Settlement` out. RAP files and returned calls (GSMA TD.32) are not there.
"""

from epc.settlement.billed import Billed, load_billed, save_billed
from epc.settlement.config import Agreement, Operator, SettlementConfig, WholesaleRate
from epc.settlement.reconcile import Difference
from epc.settlement.settlement import Settlement, settle
from epc.settlement.sources import (
    LedgerUse,
    NodeCounters,
    Octets,
    SourceRecord,
    UnreadableFile,
    read_counters,
    read_file,
    read_records,
)
from epc.settlement.tap import TapError, TapFile

__all__ = [
    "Agreement",
    "Billed",
    "Difference",
    "LedgerUse",
    "NodeCounters",
    "Octets",
    "Operator",
    "Settlement",
    "SettlementConfig",
    "SourceRecord",
    "TapError",
    "TapFile",
    "UnreadableFile",
    "WholesaleRate",
    "load_billed",
    "read_counters",
    "read_file",
    "read_records",
    "save_billed",
    "settle",
]
