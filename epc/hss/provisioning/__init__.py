"""Bringing subscribers in and out: CSV, Open5GS's collection, srsRAN's user_db.csv; ranges of IMSIs."""

from __future__ import annotations

from epc.hss.provisioning.csv_file import read_csv, write_csv
from epc.hss.provisioning.fields import COLUMNS, TEST_K, TEST_OPC, FieldError, expand, parse_subscriber
from epc.hss.provisioning.open5gs import read_open5gs, write_open5gs
from epc.hss.provisioning.problems import ProvisioningError
from epc.hss.provisioning.srsran import read_user_db, write_user_db

__all__ = [
    "COLUMNS", "TEST_K", "TEST_OPC", "FieldError", "ProvisioningError", "expand", "parse_subscriber",
    "read_csv", "read_open5gs", "read_user_db", "write_csv", "write_open5gs", "write_user_db",
]
