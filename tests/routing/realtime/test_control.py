"""A revoked key's word to every worker, over the channel layer in process."""

import asyncio

import pytest
from channels.layers import get_channel_layer

from routing.authentication.api_keys import generate_api_key
from routing.database.api_keys import revoke
from routing.models import ApiKey
from routing.realtime.control import Control
from tests.resilience.waiting import until
from tests.routing.realtime.world import KEY, Worker


@pytest.mark.django_db(transaction=True)
async def test_a_revoked_keys_sockets_end_at_once() -> None:
    async with Worker() as worker:
        control = Control(worker.realtime)
        control.start()
        client = worker.client(["news"])
        layer = get_channel_layer()
        await until(lambda: "gateway.realtime" in layer.groups)  # type: ignore[union-attr]
        await asyncio.to_thread(_revoked, generate_api_key().prefix)
        assert client.session.subscriber.closing is None
        await asyncio.to_thread(_revoked, KEY.prefix)
        assert (await client.end()).code == 4401
        await control.close()


def _revoked(prefix: str) -> None:
    key = ApiKey.objects.create(name="short", prefix=prefix, digest=generate_api_key().digest)
    revoke([key])
    key.delete()
