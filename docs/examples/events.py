"""Follow the gateway's events, resuming after each disconnect.

pip install websockets
python events.py ws://127.0.0.1:8000 KEY TOPIC ...
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CREDENTIAL_ENDED = 4401
"""The close code for an expired or revoked credential: reconnecting with it would fail again."""


async def connection(gateway: str, key: str, subscribe: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield every message from the gateway until the connection closes."""
    try:
        async with connect(f"{gateway}/ws/events/", additional_headers={"Authorization": f"Bearer {key}"}) as socket:
            await socket.send(json.dumps({"type": "subscribe", **subscribe}))
            async for text in socket:
                yield json.loads(text)
    except ConnectionClosed as closed:
        if closed.rcvd and closed.rcvd.code == CREDENTIAL_ENDED:
            raise
    except OSError:
        pass  # the gateway is unreachable: try again


async def events(gateway: str, key: str, topics: list[str]) -> AsyncIterator[dict[str, Any]]:
    """Yield each event once and in order, or a `gap` if events were missed for good: refetch the resource."""
    subscribe: dict[str, Any] = {"topics": topics}
    while True:
        pause = random.uniform(0.5, 5)  # noqa: S311 - jitter, so that clients do not reconnect at once
        async for message in connection(gateway, key, subscribe):
            last_id = message.get("id") or message.get("last_id")
            if last_id:
                subscribe["last_id"] = last_id  # after a reconnect, replay missed events first
            pause = message.get("retry_in", pause)
            if "id" in message or message["type"] == "gap":
                yield message
        await asyncio.sleep(pause)


async def main(gateway: str, key: str, *topics: str) -> None:
    async for event in events(gateway, key, list(topics)):
        print(json.dumps(event), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
