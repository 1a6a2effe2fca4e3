"""How long a backend demands to wait, by the header fields in use for it. No clock, no I/O.

`Retry-After` (RFC 9110 section 10.2.3; a Unix time too), `retry-after-ms`, Azure's `x-ms-retry-after-ms`, `RateLimit`
(draft-ietf-httpapi-ratelimit-headers), the `x-ratelimit-reset` of many APIs, OpenAI's `x-ratelimit-reset-requests` and
`-tokens`, Anthropic's `anthropic-ratelimit-*-reset`, and HubSpot's interval.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

Fields = dict[bytes, bytes]

_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})?")
_DURATION: Final = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s))?")
_PARAMETER: Final = re.compile(r"\s*(r|t|remaining|reset)\s*=\s*(\d{1,18})\s*")
EPOCH_SECONDS: Final = 1e9
"""A larger number is a time and not a wait: 32 years, or September 2001."""
EPOCH_MILLISECONDS: Final = 1e12
_RESETS: Final = (b"x-ratelimit-reset", b"x-rate-limit-reset", b"ratelimit-reset")
_RESET: Final = re.compile(rb"(?:x-ratelimit-reset-[a-z-]{1,40}|anthropic-ratelimit-[a-z-]{1,40}-reset)")
_HUBSPOT: Final = b"x-hubspot-ratelimit-"


def announced_wait(headers: Sequence[tuple[bytes, bytes]], now: float) -> float | None:
    """The longest of all waits that a response demands, in seconds; None if it demands none.

    `headers` have names in lower case, `now` is Unix time. A limit of which something remains demands no wait. Values
    that make no sense are ignored.
    """
    fields = dict(reversed(headers))
    repeated = [_retry_after(value, fields, now) for name, value in headers if name == b"retry-after"]
    lists = [wait for name, value in headers if name == b"ratelimit" for wait in _ratelimit(value)]
    waits = [wait for wait in (*repeated, *lists, *_waits(fields, now)) if wait is not None and wait > 0]
    return max(waits, default=None)


def _waits(fields: Fields, now: float) -> Iterator[float | None]:
    for name in (b"retry-after-ms", b"x-ms-retry-after-ms"):
        if (milliseconds := _number(fields.get(name))) is not None:
            yield milliseconds / 1000
    for name, value in fields.items():
        limit = name.removesuffix(b"-ms")
        if (limit in _RESETS or _RESET.fullmatch(limit)) and not _remains(
            fields, limit.replace(b"reset", b"remaining")
        ):
            yield _until(value, now, 1.0 if limit == name else 0.001)
    yield from _hubspot(fields)


def _retry_after(value: bytes, fields: Fields, now: float) -> float | None:
    """A date is compared with the response's own, so that the clocks need not agree. A proxy before the backend may
    have added a field of its own, or joined several to a list. Some backends send a Unix time, `30s` or a timestamp.
    """
    items = _text(value).encode().split(b",")
    if all(_number(item) is not None for item in items):
        return max(_until(item, now) or 0.0 for item in items)
    at = _date(_text(value))
    sent = _date(_text(fields.get(b"date")))
    return _until(value, now) if at is None else at - (now if sent is None else sent)


def _until(value: bytes, now: float, scale: float = 1.0) -> float | None:
    """Seconds until a reset given as a number (of seconds, times `scale`), a Unix time, a duration such as 6m0s, or a
    date.
    """
    number = _number(value)
    if number is not None:
        if number >= EPOCH_MILLISECONDS:
            return number / 1000 - now
        return number - now if number >= EPOCH_SECONDS else number * scale
    text = _text(value)
    form = _DURATION.fullmatch(text) if text else None
    if form is not None:
        days, hours, minutes, rest, unit = form.groups()
        seconds = float(rest or 0) * (0.001 if unit == "ms" else 1.0)
        return int(days or 0) * 86_400 + int(hours or 0) * 3_600 + int(minutes or 0) * 60 + seconds
    at = _timestamp(text)
    at = _date(text) if at is None else at
    return None if at is None else at - now


def _ratelimit(value: bytes) -> Iterator[float]:
    """Both forms of the draft: a list of `"default";r=0;t=30`, and formerly `limit=10, remaining=0, reset=30`."""
    former: dict[str, int] = {}
    for item in _text(value).split(","):
        found = [form for form in map(_PARAMETER.fullmatch, item.split(";")) if form]
        parameters = {form[1]: int(form[2]) for form in found}
        if parameters.get("r") == 0 and "t" in parameters:
            yield float(parameters["t"])
        former |= parameters
    if former.get("remaining") == 0 and "reset" in former:
        yield float(former["reset"])


def _hubspot(fields: Fields) -> Iterator[float]:
    if fields.get(_HUBSPOT + b"secondly-remaining") == b"0":
        yield 1.0
    interval = _number(fields.get(_HUBSPOT + b"interval-milliseconds"))
    if interval is not None and fields.get(_HUBSPOT + b"remaining") == b"0":
        yield interval / 1000


def _remains(fields: Fields, name: bytes) -> bool:
    remaining = _number(fields.get(name))
    return remaining is not None and remaining > 0


def _number(value: bytes | None) -> float | None:
    text = _text(value)
    return float(text) if text.isascii() and _NUMBER.fullmatch(text) else None


def _text(value: bytes | None) -> str:
    return "" if value is None or len(value) > 200 else value.decode("latin-1").strip()


def _date(text: str) -> float | None:
    """Unix time of an HTTP date."""
    try:
        return _unix(parsedate_to_datetime(text)) if text else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _timestamp(text: str) -> float | None:
    """Unix time of a timestamp (RFC 3339)."""
    try:
        return _unix(datetime.fromisoformat(text)) if text.isascii() else None
    except (ValueError, OverflowError):
        return None


def _unix(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
