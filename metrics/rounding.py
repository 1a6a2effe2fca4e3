"""Numbers in sentences, rounded and without exponents. Pure."""

from decimal import Decimal


def significant(value: float, digits: int) -> str:
    """Rounded to so many significant digits: `0.21`, `120`, `5000`."""
    return f"{Decimal(f'{value:.{digits}g}'):f}"


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as a percentage. What is not quite nothing or everything is not rounded to it: `0.3%`, `99.96%`."""
    rest, least = 1 - share, 10.0 ** -(digits + 2) / 2
    if 0 < share < least:
        return f"{significant(100 * share, 1)}%"
    if 0 < rest < least:
        return f"{100 - Decimal(significant(100 * rest, 1))}%"
    return f"{share:.{digits}%}"
