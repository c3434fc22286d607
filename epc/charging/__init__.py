"""Offline charging of a gateway: charging data records, kept so that a crash loses none (TS 32.251, TS 32.297, TS 32.298 release 15)."""

from epc.charging.config import OfflineCharging
from epc.charging.function import ChargedBearer, OfflineChargingFunction
from epc.charging.record import BearerRecords, Conditions, ServiceKey, Volume
from epc.charging.store import RecordStore

__all__ = [
    "BearerRecords",
    "ChargedBearer",
    "Conditions",
    "OfflineCharging",
    "OfflineChargingFunction",
    "RecordStore",
    "ServiceKey",
    "Volume",
]
