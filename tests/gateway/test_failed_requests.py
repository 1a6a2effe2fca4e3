"""Failed requests of consumers are reported to observers, through every entry point; others are not. The gateway's own
limits are no failures of a service.
"""

import errno
from typing import Any

import pytest

from resilience.breaker.machine import State
from routing.backend import dialer
from tests.gateway.conftest import World
from tests.gateway.test_nine_steps import ok
from tests.gateway.test_plans import PATH, UNCACHED, subscribe
from tests.resilience.cache.entries import until


async def test_a_consumers_failed_requests_are_reported(world: World) -> None:
    gone = b"HTTP/1.1 410 X\r\nContent-Length: 0\r\n\r\n"
    await world.serve(ok(), gone, name="crm", policy=UNCACHED)
    await world.serve(ok(), name="mail", policy=UNCACHED)
    (key,) = subscribe(world, {"services": ["crm"]})
    assert (await world.request("GET", PATH, key=key)).status == 200
    assert world.observer.failures == []
    assert (await world.request("GET", f"{PATH}?token=secret", key=key)).status == 410
    assert (await world.request("GET", "/api/v1/mail/x", key=key)).status == 403
    assert (await world.request("GET", "/api/v1/mail/x", key="gw_unknown")).status == 401
    assert (await world.request("GET", "/api/v1/nothing/x", key=world.key)).status == 404
    await until(lambda: len(world.observer.failures) >= 2)
    found = [(consumer, event.status, event.code, event.path) for consumer, event in world.observer.failures]
    assert found == [(1, 410, "", PATH), (1, 403, "forbidden", "/api/v1/mail/x")]


async def test_a_gateway_out_of_files_opens_no_circuit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    await world.serve(ok(), name="crm", policy=UNCACHED)
    with monkeypatch.context() as limited:
        limited.setattr(dialer, "first_connected", refuse)
        for _ in range(10):
            response = await world.request("GET", PATH)
            assert (response.status, response.json()["code"]) == (503, "overloaded")
            assert response.get("retry-after") == "1"
    assert world.observer.requests[-1].reason == "the gateway has too many open files"
    assert (await world.request("GET", PATH)).status == 200
    assert next(iter(world.breakers)).state() is State.CLOSED
