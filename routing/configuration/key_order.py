"""The order of keys in the canonical form of a configuration. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any


def in_order(settings: Mapping[str, Any], order: Iterable[str]) -> list[str]:
    """The keys of `settings` in their order, then those that this version does not know.

    Rows that a later version, or SQL, has written may have such: what makes a row invalid must be seen in an export.
    """
    known = [key for key in order if key in settings]
    return [*known, *sorted(settings.keys() - set(known))]
