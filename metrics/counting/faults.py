"""Why a request failed, as a text that can be counted, and whom it has hit: for incidents."""

from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from routing.errors import (
    BackendLimited,
    CircuitOpen,
    Overloaded,
    QuotaExceeded,
    RateLimited,
)
from routing.messages.outcome import OutcomeClass
from routing.observability.events import RequestFinished
from routing.router.paths import PREFIX

REFUSALS: Final = frozenset(error.code for error in (RateLimited, QuotaExceeded, BackendLimited, Overloaded))
"""Codes of errors that say that a limit was reached, not that something is wrong."""
MAX_TEXT: Final = 120
"""The most characters of a fault or of a caller's id."""
ANONYMOUS: Final = "anonymous"
_BY_THE_TARGET: Final = ("connection refused", "connection reset")


class FaultKind(StrEnum):
    """What a failed request shows: that the service fails, that its callers' requests are wrong, or that a limit was
    reached.
    """

    ERROR = "error"
    CLIENT_ERROR = "client_error"
    REFUSAL = "refusal"


def fault_kind(event: RequestFinished) -> FaultKind:
    """The kind of a request of which `has_failed` is true."""
    if event.code in REFUSALS:
        return FaultKind.REFUSAL
    return FaultKind.CLIENT_ERROR if 400 <= event.status < 500 else FaultKind.ERROR


def has_failed(event: RequestFinished) -> bool:
    """Whether it was answered with an error, or with something else in place of a response of the service."""
    return event.status >= 400 or bool(event.call) or event.outcome == OutcomeClass.FAILED


def describe(event: RequestFinished) -> str:
    """Such as `connection refused by 127.0.0.1:9` or `502 from /contacts`. For operators only: it names addresses.

    Empty if the request says nothing of the cause: an open circuit is a consequence.
    """
    if event.reason and event.target:
        preposition = "by" if event.reason in _BY_THE_TARGET else "at"
        text = f"{event.reason} {preposition} {_address(event.target)}"
    elif CircuitOpen.code in (event.code, event.call):
        return ""
    elif event.code or event.call:
        return f"{event.status} {event.code or event.call}"
    elif event.outcome == OutcomeClass.FAILED and event.status < 500:
        text = f"{event.status} that means a failure from {_place(event)}"
    else:
        text = f"{event.status} from {_place(event)}"
    return _printable(text)


def affected(event: RequestFinished) -> str:
    """The caller's id."""
    return (_printable(event.caller) if event.caller else "") or ANONYMOUS


def _address(url: str) -> str:
    return urlsplit(url).netloc or url


def _place(event: RequestFinished) -> str:
    """The route, or else the first segment of the path: the rest is the client's."""
    if event.route:
        return event.route
    path = event.path.removeprefix(f"{PREFIX.decode()}{event.service}")
    return "/" + path.lstrip("/").partition("/")[0]


def _printable(text: str) -> str:
    return text[:MAX_TEXT] if text.isprintable() else "".join(filter(str.isprintable, text))[:MAX_TEXT]
