"""The result of Explain, as the API and the admin show it."""

from typing import Any

import msgspec


class ExplainedOutcome(msgspec.Struct, frozen=True):
    """How the request ends. `status` and `code` are the gateway's own response; None if the backend responds."""

    outcome: str
    status: int | None = None
    code: str | None = None
    detail: str = ""


class RouteCheck(msgspec.Struct, frozen=True):
    """One of the service's routes, and why it matches the request or does not."""

    path: str
    methods: tuple[str, ...]
    matches: bool
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What each step decides. A step that is not reached is None.

    `nearly` are hints at services whose name is close to the requested one.
    """

    request: dict[str, Any]
    verdict: ExplainedOutcome
    service: dict[str, Any] | None = None
    nearly: tuple[str, ...] = ()
    routes: tuple[RouteCheck, ...] = ()
    access: dict[str, Any] | None = None
    rate_limit: dict[str, Any] | None = None
    cache: dict[str, Any] | None = None
    circuit: dict[str, Any] | None = None
    call: dict[str, Any] | None = None
