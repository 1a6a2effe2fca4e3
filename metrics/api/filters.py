"""Parameters of a query that select rows by a name."""

from collections.abc import Iterable
from typing import Any

from metrics.api.serializers import Text
from metrics.request_log.identifiers import key_prefix


class KeyPrefix(Text):
    """The prefix of an API key, in any form in which it is shown: alone, as `key:PREFIX`, or as the key begins."""

    def to_internal_value(self, data: Any) -> str:
        return key_prefix(super().to_internal_value(data))


def name_filters(names: Iterable[str]) -> dict[str, Text]:
    """Parameters of a query by which rows are selected; empty or missing: by none."""
    return {
        name: (KeyPrefix if name == "key" else Text)(required=False, default="", allow_blank=True, max_length=300)
        for name in names
    }
