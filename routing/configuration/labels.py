"""Labels of services: names and values by which the dashboard groups and finds them. No Django, no I/O."""

import re
from typing import Final

from routing.configuration.faults import Faults
from routing.configuration.values import display, mapping, string

MAX_LABELS: Final = 16
MAX_VALUE: Final = 63
"""The most characters of a value."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,31}")

Labels = tuple[tuple[str, str], ...]
"""Names and values, by name."""


def labels(value: object) -> Labels:
    """The labels in a mapping. Raises ValueError, and ConfigurationError for a name or a value."""
    items = mapping(value)
    if len(items) > MAX_LABELS:
        raise ValueError(f"must be at most {MAX_LABELS} labels")
    faults = Faults()
    for name, text in items.items():
        with faults.at(name):
            _check(name, text)
    faults.raise_if_any()
    return tuple(sorted(items.items()))


def _check(name: str, value: object) -> None:
    if _NAME.fullmatch(name) is None:
        form = "a lower-case letter, then letters, digits, '_', '.' or '-', at most 32 characters"
        raise ValueError(f"{display(name)} is not a name of a label: {form}")
    text = string(value)
    if not 0 < len(text) <= MAX_VALUE or not text.isprintable() or text != text.strip():
        raise ValueError(f"must be a text of 1 to {MAX_VALUE} printable characters")
