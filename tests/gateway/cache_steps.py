"""Table-driven cache tests: the backend's replies in order, and what each request gets."""

from dataclasses import dataclass, field
from http.client import responses

from resilience.cache.policy import CachePolicy
from routing.router.policy import RoutePolicy
from tests.gateway.conftest import QUICK, World
from tests.gateway.entry_points import ReceivedResponse

PATH = "/api/v1/crm"
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
"""The start of a World's clock."""
MINUTE_AGO = "Tue, 14 Nov 2023 22:12:20 GMT"
IN_A_MINUTE = "Tue, 14 Nov 2023 22:14:20 GMT"


def reply(status: int = 200, body: bytes = b"0123456789", **fields: str) -> bytes:
    """A response of the backend, byte for byte."""
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    else:
        body = b""
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


NOT_MODIFIED = reply(304)
WITH_ETAG = reply(etag='"a"', cache_control="max-age=10")
WITH_LAST_MODIFIED = reply(last_modified=MINUTE_AGO, cache_control="max-age=10")
DOWN = reply(503, b"down")


@dataclass
class Step:
    """A request `after` seconds, with the expected X-Cache (`cache`), status, and number of backend `calls`."""

    cache: str
    after: float
    status: int
    method: str
    path: str
    body: bytes | None
    calls: int | None
    headers: list[tuple[str, str]] = field(default_factory=list)


def get(
    cache: str,
    after: float = 0,
    status: int = 200,
    *,
    method: str = "GET",
    path: str = "/x",
    body: bytes | None = None,
    calls: int | None = None,
    **headers: str,
) -> Step:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Step(cache, after, status, method, path, body, calls, fields)


def policy(**cache: object) -> RoutePolicy:
    return RoutePolicy(timeout=QUICK, cache=CachePolicy(**cache))  # type: ignore[arg-type]


Case = tuple[str, list[bytes], list[Step]]
"""The RFC's section, the backend's replies, and the steps."""

_CALLS = {"HIT": 0, "MISS": 1, "REVALIDATED": 1, "BYPASS": 1}


async def run_steps(
    world: World, replies: list[bytes], steps: list[Step], route: RoutePolicy | None = None
) -> ReceivedResponse:
    """Run the steps and return the response of the last one."""
    origin = await world.serve(*replies, policy=route)
    for number, step in enumerate(steps):
        world.clock.advance(step.after)
        before = len(origin.requests)
        sent = [b""] if step.method in ("POST", "PUT", "PATCH") else None
        response = await world.request(step.method, PATH + step.path, step.headers, body=sent)
        assert (response.get("x-cache"), response.status) == (step.cache, step.status), (
            number,
            response.get("cache-status"),
        )
        if step.body is not None:
            assert response.body == step.body, number
        calls = step.calls if step.calls is not None else _CALLS.get(step.cache)
        if calls is not None:
            assert len(origin.requests) - before == calls, number
    return response
