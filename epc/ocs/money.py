"""Money: whole millionths of the currency's unit inside, decimal text outside."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICRO = 1_000_000
MAXIMUM = 10**15            # a thousand million euro: leaves room in a database's BIGINT for sums


def parse_money(text: str) -> int:
    """``"9.99"`` in millionths. Raises ``ValueError``."""
    try:
        amount = Decimal(text) * MICRO
    except InvalidOperation:
        raise ValueError(f"{text!r} is no amount of money such as 9.99") from None
    if not amount.is_finite() or abs(amount) > MAXIMUM:
        raise ValueError(f"{text} is no amount that an account can have")
    if amount != amount.to_integral_value():
        raise ValueError(f"{text}: there are no more than six decimal places")
    return int(amount)


def show_money(amount: int) -> str:
    """Millionths as text, without the zeros beyond two decimal places."""
    whole, micro = divmod(abs(amount), MICRO)
    decimals = f"{micro:06}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{decimals}"
