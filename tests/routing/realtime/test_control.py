"""The revocation of a key, sent to every worker over the in-process channel layer."""

import asyncio
import contextlib

import pytest
from channels.layers import get_channel_layer

from routing.authentication.api_keys import generate_api_key
from routing.database.api_keys import revoke
from routing.models import ApiKey
from routing.realtime.control import Control
from tests.resilience.waiting import until
from tests.routing.realtime.world import KEY, Worker


@pytest.mark.django_db(transaction=True)
async def test_the_connections_of_a_revoked_key_are_closed_at_once() -> None:
    async with Worker() as worker:
        control = Control(worker.realtime)
        control.start()
        client = worker.client(["news"])
        layer = get_channel_layer()
        await until(lambda: "gateway.realtime" in layer.groups)  # type: ignore[union-attr]
        await asyncio.to_thread(_create_and_revoke, generate_api_key().prefix)
        assert client.session.subscriber.closing is None
        await asyncio.to_thread(_create_and_revoke, KEY.prefix)
        assert (await client.wait_closed()).code == 4401
        await control.close()


class _Layer:
    """Takes the first cancellation for that of its own time-out."""

    entered = False

    async def new_channel(self) -> str:
        self.entered = True
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "channel"

    async def group_add(self, group: str, channel: str) -> None: ...

    async def group_discard(self, group: str, channel: str) -> None: ...

    async def receive(self, channel: str) -> dict[str, str]:
        await asyncio.Event().wait()
        return {}


async def test_it_ends_although_the_layer_takes_the_cancellation_for_a_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = _Layer()
    monkeypatch.setattr("routing.realtime.control.get_channel_layer", lambda: layer)
    async with Worker() as worker:
        control = Control(worker.realtime)
        control.start()
        await until(lambda: layer.entered)
        await asyncio.wait_for(control.close(), 20)


def _create_and_revoke(prefix: str) -> None:
    key = ApiKey.objects.create(name="short", prefix=prefix, digest=generate_api_key().digest)
    revoke([key])
    key.delete()
