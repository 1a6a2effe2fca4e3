"""A model of the cache: RFC 9111 and the gateway's documented rules, independent of its code, for callers that it knows
and for one field that responses vary by.
"""

from dataclasses import dataclass
from typing import NamedTuple

TTL, VALIDATION = 300, 3_600
STALE_IF_ERROR = 300
FAILURES = (500, 502, 503, 504)
BY_TTL = (200, 301)
OF_ONE_REQUEST = (429,)


Key = tuple[int | None, str]
"""The caller, None if all share the response, and the path."""


class Reply(NamedTuple):
    """What the backend would send. Its entity tag is that of the resource's version."""

    status: int
    control: str
    has_etag: bool
    varies: bool
    sets_cookie: bool


def directives(control: str) -> dict[str, float]:
    """Those without an argument are 0."""
    parts = [part.partition("=") for part in control.split(", ") if part]
    return {name: float(value or 0) for name, _, value in parts}


@dataclass
class Stored:
    """A stored response, and until when it may be used for what. Times are Unix seconds."""

    body: bytes
    reply: Reply
    language: str
    generated_at: float
    fresh_until: float
    refresh_until: float
    error_until: float
    kept_until: float
    is_strict: bool
    varies: bool

    @property
    def can_be_validated(self) -> bool:
        return self.reply.has_etag and self.reply.status == 200


def to_store(reply: Reply, body: bytes, language: str, now: float, refresh: float) -> Stored | None:
    """RFC 9111 section 3, for a caller that the gateway knows. `refresh` is the route's stale_while_revalidate."""
    control, can_validate = directives(reply.control), reply.has_etag and reply.status == 200
    no_cache = "no-cache" in control
    if control.keys() & {"no-store", "private"} or reply.sets_cookie or reply.status in OF_ONE_REQUEST:
        return None
    if no_cache and not can_validate:
        return None
    lifetime = control.get("s-maxage", control.get("max-age"))
    if lifetime is None and reply.status not in BY_TTL:
        return None
    fresh_until = 0.0 if no_cache else now + (TTL if lifetime is None else lifetime)
    strict = no_cache or reply.status in FAILURES or bool(control.keys() & {"must-revalidate", "s-maxage"})
    stale_at = max(now, fresh_until)
    refresh_until = stale_at + (0 if strict else control.get("stale-while-revalidate", refresh))
    error_until = stale_at + (0 if strict else control.get("stale-if-error", STALE_IF_ERROR))
    kept_until = max(refresh_until, error_until, stale_at + VALIDATION if can_validate else 0)
    if kept_until <= now:
        return None
    times = (now, fresh_until, refresh_until, error_until, kept_until)
    return Stored(body, reply, language, *times, strict, reply.varies)


class Model:
    """What is stored, the newest first, by caller (None if they share it) and path."""

    def __init__(self) -> None:
        self.stored: dict[Key, list[Stored]] = {}

    def find(self, key: Key, language: str, now: float) -> Stored | None:
        matching = [one for one in self.stored.get(key, ()) if not one.varies or one.language == language]
        return matching[0] if matching and matching[0].kept_until > now else None

    def put(self, key: Key, new: Stored, now: float) -> None:
        others = [one for one in self.stored.get(key, ()) if one.kept_until > now]
        new.varies = new.varies or any(one.varies for one in others)
        kept = [one for one in others if one.varies and one.language != new.language] if new.varies else []
        self.stored[key] = [new, *kept]

    def end(self, path: str) -> None:
        """A write to the path."""
        self.stored = {key: found for key, found in self.stored.items() if key[1] != path}


def use(stored: Stored | None, control: dict[str, float], now: float) -> str:
    """X-Cache of a response from the store (RFC 9111 sections 4.2 and 5.2.1); empty if the backend is asked."""
    if stored is None or control.keys() & {"no-store", "no-cache"}:
        return ""
    left, age = stored.fresh_until - now, now - stored.generated_at
    is_young = age < control.get("max-age", age + 1)
    if left > 0 and is_young and left >= control.get("min-fresh", 0):
        return "HIT"
    if stored.is_strict or left > 0 or not is_young:
        return ""
    if "max-stale" in control and -left <= (control["max-stale"] or -left):
        return "STALE"
    return "STALE" if now < stored.refresh_until and "min-fresh" not in control else ""


def stands_in(stored: Stored, control: str, status: int, now: float) -> bool:
    """Whether it is sent in place of a failure (RFC 5861 section 4)."""
    may_be_stale = not stored.is_strict and not directives(control).keys() & {"no-cache", "no-store"}
    return status in FAILURES and may_be_stale and now < max(stored.error_until, stored.refresh_until)
