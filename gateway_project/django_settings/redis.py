"""Django's settings that depend on REDIS_URL: its cache, sessions and channel layer."""

from typing import Any

from resilience.redis_address import parse
from resilience.redis_client import channel_host


def caches(url: str | None, prefix: str) -> dict[str, Any]:
    """CACHES. Without Redis each process has a cache of its own. While Redis is unavailable, nothing is found."""
    if url is None:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    options = {
        "CLIENT_CLASS": "gateway_project.django_settings.redis_client.PrefixClient",
        "CONNECTION_FACTORY": "gateway_project.django_settings.redis_client.AddressConnectionFactory",
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "IGNORE_EXCEPTIONS": True,
        "LOG_IGNORED_EXCEPTIONS": True,
    }
    backend = "django_redis.cache.RedisCache"
    return {"default": {"BACKEND": backend, "LOCATION": [url], "KEY_PREFIX": f"{prefix}:django", "OPTIONS": options}}


def session_engine(url: str | None) -> str:
    """SESSION_ENGINE. The database has every session, and the cache spares reading it there."""
    return "gateway_project.sessions.database" if url is None else "gateway_project.sessions.cached"


def channel_layers(url: str | None, prefix: str) -> dict[str, Any]:
    """CHANNEL_LAYERS."""
    if url is None:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    configuration = {"hosts": [channel_host(parse(url))], "prefix": f"{prefix}:channels"}
    return {
        "default": {"BACKEND": "gateway_project.django_settings.channel_layer.ChannelLayer", "CONFIG": configuration}
    }
