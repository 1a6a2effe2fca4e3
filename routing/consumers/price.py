"""What a request costs: decimal numbers, never floating-point ones."""

import re
from decimal import Decimal
from typing import Final

import msgspec

MAX_PRICE: Final = 1_000
"""Of one request, in units of the currency. Bounds sums to what databases store in 64 bits."""
CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NUMBER: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?")


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """`per_request` is a decimal number of units of the currency, such as `0.002`; `currency` a code of ISO 4217."""

    per_request: str
    currency: str

    def __post_init__(self) -> None:
        if not _NUMBER.fullmatch(self.per_request) or Decimal(self.per_request) > MAX_PRICE:
            raise ValueError(f"per_request must be a number from 0 to {MAX_PRICE} with at most nine decimal places")
        if not CURRENCY.fullmatch(self.currency):
            raise ValueError("currency must be three capital letters such as EUR")

    @property
    def nanos(self) -> int:
        """`per_request` in billionths, of which it is a whole number."""
        return int(Decimal(self.per_request).scaleb(9))


def build_price(**settings: str) -> Price:
    """The price of parsed settings. Raises ValueError."""
    for key in Price.__struct_fields__:
        if key not in settings:
            raise ValueError(f"a price needs {key!r}")
    return Price(**settings)
