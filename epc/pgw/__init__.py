"""The PDN Gateway (TS 23.401 clause 4.4.3.3): one file a procedure, each with the name that it has on every lifeline."""

from epc.pgw.config import PgwConfig
from epc.pgw.node import Pgw

__all__ = ["Pgw", "PgwConfig"]
