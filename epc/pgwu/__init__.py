"""The PDN Gateway's user-plane function (TS 23.214 clause 4.2): between tunnels and SGi, under a PGW-C's rules on Sxb."""

from epc.pgwu.config import NetworkConfig, PgwuConfig
from epc.pgwu.node import Pgwu

__all__ = ["NetworkConfig", "Pgwu", "PgwuConfig"]
