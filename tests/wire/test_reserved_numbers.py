"""Numbers that a specification keeps unused or reserved have no meaning here either (found by comparing the names with tshark's)."""

from __future__ import annotations

from enum import IntEnum

from epc.wire import nas
from epc.wire.diameter import s6a


def test_esm_cause_46_is_unused() -> None:
    """TS 24.301 table 9.9.4.4.1 notes that it belonged to an earlier version; received, it stays a number."""
    decoded = nas.decode(nas.encode(nas.EsmStatus(esm_cause=46)))
    assert isinstance(decoded, nas.EsmStatus)
    assert decoded.esm_cause == 46
    assert not isinstance(decoded.esm_cause, IntEnum)


def test_user_state_5_is_reserved() -> None:
    """TS 29.272 clause 7.3.114: no MME sends it any more."""
    assert s6a.UserState(5) is s6a.UserState.RESERVED
