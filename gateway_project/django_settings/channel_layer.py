"""The channel layer over Redis, to whose channels other programs may publish."""

from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer


class ChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc] # channels-redis is untyped
    """Ignores malformed messages, which would end the consumer."""

    async def receive(self, channel: str) -> dict[str, Any]:
        while True:
            try:
                message = await self._get_layer().receive(channel)
            except (ValueError, TypeError, RecursionError):  # from msgpack
                continue
            if isinstance(message, dict) and isinstance(message.get("type"), str):
                return message
