"""What Gy messages say of money's worth, in a few words for a line of the ladder: ``RG 10 used 1.2 MB, wants more``."""

from __future__ import annotations

from collections.abc import Iterator

from epc.wire.diameter.charging import FinalUnitAction, MultipleServicesCreditControl
from epc.wire.diameter.gy import CreditControlAnswer, CreditControlRequest, ReAuthRequest
from epc.wire.diameter.results import ResultCode


def services_told(message: object) -> Iterator[str]:
    """One piece for each service; nothing for other messages."""
    if isinstance(message, CreditControlRequest | CreditControlAnswer):
        is_request = isinstance(message, CreditControlRequest)
        pieces = [f"{_name(mscc)} {_asked(mscc) if is_request else _granted(mscc)}".strip() for mscc in message.multiple_services_credit_control]
        if pieces:
            yield "; ".join(pieces)
    elif isinstance(message, ReAuthRequest) and message.rating_group is not None:
        yield f"RG {message.rating_group}"


def _name(mscc: MultipleServicesCreditControl) -> str:
    group = "" if mscc.rating_group is None else f"RG {mscc.rating_group}"
    return " ".join([group, *[f"service {identifier}" for identifier in mscc.service_identifier]]).strip()


def _asked(mscc: MultipleServicesCreditControl) -> str:
    used = [_units(unit.cc_total_octets, unit.cc_time) for unit in mscc.used_service_unit]
    reasons = [getattr(unit.tgpp_reporting_reason, "name", "").lower().replace("_", " ") for unit in mscc.used_service_unit]
    said = [f"used {' and '.join(used)}"] if used else []
    said += [f"({reason})" for reason in reasons if reason]
    if mscc.requested_service_unit is not None:
        said.append("wants more" if used else "wants units")
    return " ".join(said)


def _granted(mscc: MultipleServicesCreditControl) -> str:
    said = []
    if mscc.result_code not in (None, ResultCode.DIAMETER_SUCCESS):
        said.append(str(getattr(mscc.result_code, "name", mscc.result_code)).removeprefix("DIAMETER_").replace("_", " ").lower())
    granted = mscc.granted_service_unit
    if granted is not None:
        said.append(f"granted {_units(granted.cc_total_octets, granted.cc_time)}")
    final = mscc.final_unit_indication
    if final is not None:
        action = FinalUnitAction(final.final_unit_action).name if final.final_unit_action in list(FinalUnitAction) else str(final.final_unit_action)
        said.append(f"the last, then {action.lower().replace('_', ' ')}")
    return " ".join(said)


def _units(octets: int | None, seconds: int | None) -> str:
    said = [] if octets is None else [_volume(octets)]
    if seconds is not None:
        said.append(f"{seconds} s")
    return " ".join(said) or "nothing"


def _volume(octets: int) -> str:
    for size, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets} B"
