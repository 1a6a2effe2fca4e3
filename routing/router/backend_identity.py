"""What in the configuration decides how a backend would respond, as a digest: part of every cache key."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from routing.router.policy import RoutePolicy
from routing.router.table import Service

WITHOUT_EFFECT: Final = frozenset(
    {
        "auth",
        "scopes",
        "ip",
        "enabled",
        "rate_limit",
        "timeout",
        "max_concurrency",
        "retries",
        "breaker",
        "health",
        "fallback",
        "hold_off",
        "outbound",
        "cost_per_call",
        "price",
        "cors",
        "websocket",
        "invalidates",
        "idempotency",
        "request_log",
    }
)
"""Settings of a policy that change neither what a backend is sent nor what is stored of its response. A setting that is
not listed counts, so that a new one cannot be forgotten.
"""
_CACHE_FIELDS: Final = (
    "tags",
    "vary",
    "credentials",
    "ignore",
    "ignore_vary",
    "share_ignored",
    "key",
    "only_if",
    "cookies",
)
"""Settings of the cache that stored responses depend on. A lifetime is not among them: shortening it, or extending it
during an outage, must not discard what is stored.
"""

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


def backend_identity(service: Service, policy: RoutePolicy, secret: bytes) -> bytes:
    """20 bytes, the same for equal configurations in every process that has the same `secret`.

    Only the URLs of the targets count: their weights and their health decide where a call goes, not what the service
    is. `secret` is a key of at most 64 bytes: configured header fields contain credentials, which nobody who can read
    the cache's keys must be able to guess.
    """
    settings: dict[str, Any] = {
        name: getattr(policy, name) for name in policy.__struct_fields__ if name not in WITHOUT_EFFECT
    }
    cache = settings.pop("cache")
    settings["cache"] = None if cache is None else [getattr(cache, name) for name in _CACHE_FIELDS]
    settings["headers"] = sorted(policy.headers)
    urls = sorted(target.url for target in service.targets)
    plain = msgspec.to_builtins([service.incarnation, urls, settings], builtin_types=(bytes,), order="deterministic")
    return blake2b(_encode(plain), digest_size=20, key=secret).digest()
