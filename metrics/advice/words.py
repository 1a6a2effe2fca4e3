"""Durations and numbers, for people and for the configuration file. Pure."""

from typing import Final

_UNITS: Final = ((86_400, "d", "day"), (3_600, "h", "h"), (60, "m", "min"), (1, "s", "s"))


def setting(seconds: float) -> str:
    """As the configuration file writes it: `30m`."""
    for size, unit, _ in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.15g}s"


def span(seconds: float) -> str:
    """A duration rounded to two digits: `4.1 h`, `30 min`, `2 days`."""
    for size, _, unit in _UNITS:
        if seconds >= size:
            number = f"{seconds / size:.2g}" if seconds / size < 99.5 else f"{seconds / size:,.0f}"
            return f"{number} {unit}{'s' if unit == 'day' and number != '1' else ''}"
    return f"{seconds * 1_000:.0f} ms"


def count(number: float) -> str:
    """Rounded to two digits above 100: `1,900`."""
    if number < 100:
        return f"{number:.0f}"
    digits = len(str(int(number))) - 2
    return f"{round(number, -digits):,.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def round_up(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, and so on."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if step >= number:
                return step
        size *= 10
