"""WebSockets to targets of a private authority, which may ask for a client certificate."""

from contextlib import ExitStack

import pytest

from resilience.breaker.policy import BreakerPolicy
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service
from routing.tls.policy import TlsPolicy
from tests.clock import FakeClock
from tests.gateway.conftest import World, make_world
from tests.gateway.websocket_world import client_of, closed_with, greet, proxy_of
from tests.internal_ca import NAME, InternalCa, server_context, tls_server
from tests.system.echo import websocket_server

CA = InternalCa()


def world_of(port: int, tls: TlsPolicy | None) -> World:
    world = make_world("asgi")
    target = Target(f"https://127.0.0.1:{port}", tls=tls)
    world.add(
        Service("chat", (target,), policy=RoutePolicy(websocket=True, breaker=BreakerPolicy(failure_threshold=1_000)))
    )
    return world


async def test_a_websocket_has_the_settings_of_its_target() -> None:
    with ExitStack() as stack:
        context = server_context(CA.server(NAME, addresses=()), clients=CA.pem)
        port = stack.enter_context(websocket_server(greet, ssl=context))
        world = world_of(port, CA.identity(server_name=NAME))
        client = client_of(proxy_of(world, FakeClock()), world)
        assert await client.connect() is None
        assert (await client.receive())["text"] == "hello"
        await client.disconnect()


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        (None, "certificate: self-signed root that is not trusted"),
        (CA.identity(server_name="other.example"), "certificate: hostname mismatch"),
    ],
)
async def test_the_reason_of_a_failed_handshake(tls: TlsPolicy | None, reason: str) -> None:
    with websocket_server(greet, ssl=server_context(CA.server(NAME), clients=CA.pem)) as port:
        world = world_of(port, tls)
        assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014
        last = world.observer.requests[-1]
        assert (last.code, last.reason) == ("bad_gateway", reason)


async def test_the_reason_where_a_client_certificate_is_required() -> None:
    """A server in threads sends its alert, which one of asyncio does not."""
    with tls_server(CA.server(NAME), clients=CA.pem) as server:
        world = world_of(server.port, TlsPolicy(ca=CA.pem))
        reasons = set()
        for _ in range(50):
            assert await closed_with(client_of(proxy_of(world, FakeClock()), world)) == 1014
            reasons.add(world.observer.requests[-1].reason)
            if "client certificate: required" in reasons:
                break
        assert "client certificate: required" in reasons
