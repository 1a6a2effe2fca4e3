"""One request as staff see it. It has no body, no header fields and no credential, and values of queries are masked."""

from enum import StrEnum
from typing import Final

import msgspec

MAX_TEXT: Final = 300
"""Characters of a verdict, or of another text that a client or a backend chooses."""
MAX_PATH: Final = 2_000
MAX_QUERY_PARTS: Final = 50
MAX_PARAMETER_NAME: Final = 64
MASK: Final = "***"
"""Replaces a value of the query."""


class RecordKind(StrEnum):
    """Why a request was recorded: the first that applies. Each is bounded by itself, so that none displaces another.

    FAILED: the gateway or the backend failed, even if the client received a stored response or a fallback's.
    CLIENT_ERROR: a 4xx status, or the client went away. SLOW: the response's header fields took longer than `slow`.
    SAMPLED: none of these.
    """

    FAILED = "failed"
    CLIENT_ERROR = "client_error"
    SLOW = "slow"
    SAMPLED = "sampled"


class StepRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`at`: when the step ended, in seconds since the start; None if it ended before the request first had to wait and
    was not timed. `error` is the code of the error that the step raised.
    """

    name: str
    verdict: str = ""
    at: float | None = None
    error: str = ""


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Durations are seconds, `at` is Unix time.

    `head` is the time until the response's header fields, `duration` until its end, `backend` that of the last call.
    `path` and `query` are as the client sent them, but for masked values. `route` is the pattern of the matched route,
    `also` are others whose restrictions applied. `code` is that of the gateway's own error response, `call` that of a
    backend call that failed, `reason` why it did. `cache_rule` says how responses of the route are stored.
    `configuration` is the version of the route table that decided, 0 if another has replaced it since. `trace` is the
    id of the request's trace, in hex. `share` is the share of such requests that are recorded: each stands for
    1 / `share` of them.
    """

    at: float
    id: str
    kind: RecordKind
    method: str
    scheme: str = "http"
    host: str = ""
    path: str = ""
    query: str = ""
    client: str = ""
    caller: str = ""
    consumer: str = ""
    team: str = ""
    plan: str = ""
    service: str = ""
    route: str = ""
    also: tuple[str, ...] = ()
    status: int = 0
    code: str = ""
    call: str = ""
    reason: str = ""
    aborted: str = ""
    outcome: str = ""
    fallback: str = ""
    circuit: str = ""
    target: str = ""
    retries: int = 0
    duration: float = 0.0
    head: float = 0.0
    backend: float | None = None
    bytes: int = 0
    cache: str = ""
    cache_status: str = ""
    cache_key: str = ""
    cache_rule: str = ""
    configuration: int = 0
    trace: str = ""
    share: float = 1.0
    steps: tuple[StepRecord, ...] = ()

    @property
    def key(self) -> str:
        """The prefix of the API key, if one identified the caller."""
        kind, _, prefix = self.caller.partition(":")
        return prefix if kind == "key" else ""

    @property
    def target_path(self) -> str:
        """The path with the masked query."""
        return f"{self.path}?{self.query}" if self.query else self.path


def mask_query(query: bytes) -> str:
    """The names of the parameters, with their values masked. A parameter without `=` may be a value: it is masked."""
    parts = query.split(b"&", MAX_QUERY_PARTS)
    masked = [_mask(part) for part in parts[:MAX_QUERY_PARTS]]
    return "&".join(masked + [MASK] * (len(parts) > MAX_QUERY_PARTS)) if query else ""


def _mask(part: bytes) -> str:
    name, equals, value = part.partition(b"=")
    if not part:
        return ""
    if not equals or len(name) > MAX_PARAMETER_NAME:
        return MASK
    return f"{name.decode('latin-1')}={MASK if value else ''}"


def cut(text: str, length: int = MAX_TEXT) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"
