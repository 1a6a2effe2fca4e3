"""What remains of a backend's limits, by the header fields in use for it. Pure.

`x-ratelimit-remaining` and `x-ratelimit-remaining-requests` of many APIs, Anthropic's
`anthropic-ratelimit-requests-remaining`, HubSpot's `x-hubspot-ratelimit-daily-remaining`, Salesforce's
`sforce-limit-info: api-usage=18/5000`, and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
"""

import re
from collections.abc import Iterable
from typing import Final

DEFAULT: Final = "default"
"""The name of a limit that has none."""
_NAME: Final = rb"[a-z][a-z-]{0,30}"
_FIELD: Final = re.compile(
    rb"x-rate-?limit-remaining(?:-(%b))?|anthropic-ratelimit-(%b)-remaining|x-hubspot-ratelimit-(?:(%b)-)?remaining"
    % (_NAME, _NAME, _NAME)
)
_NUMBER: Final = re.compile(rb"\d{1,15}")
_USAGE: Final = re.compile(rb"(%b)=(\d{1,15})/(\d{1,15})" % _NAME)
_ITEM: Final = re.compile(rb'"(%b)"\s*(?:;[^,;]{0,100}){0,8}?;\s*r=(\d{1,15})(?![^;,\s])' % _NAME)


def remaining(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
    """What remains of each limit that a response names. `headers` have names in lower case."""
    found: dict[str, int] = {}
    for name, value in headers:
        if b"limit" not in name or len(value) > 500:
            continue
        form = _FIELD.fullmatch(name)
        if form is not None and _NUMBER.fullmatch(value):
            found[_text(form[1] or form[2] or form[3])] = int(value)
        elif name == b"sforce-limit-info":
            found |= {_text(usage[1]): max(0, int(usage[3]) - int(usage[2])) for usage in _USAGE.finditer(value)}
        elif name == b"ratelimit":
            found |= {_text(item[1]): int(item[2]) for item in _ITEM.finditer(value)}
    return found


def _text(name: bytes | None) -> str:
    return DEFAULT if name is None else name.decode()
