"""What in the configuration decides how a backend would respond, as a digest: part of every cache key."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service
from routing.tls.pem import certificate_names

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

    Of the targets, the URLs count, and with TLS the server's name and whom the gateway's own certificate names: their
    weights and their health decide where a call goes, not what the service is. `secret` is a key of at most 64 bytes:
    configured header fields contain credentials, which nobody who can read the cache's keys must be able to guess.
    """
    settings: dict[str, Any] = {
        name: getattr(policy, name) for name in policy.__struct_fields__ if name not in WITHOUT_EFFECT
    }
    cache = settings.pop("cache")
    settings["cache"] = None if cache is None else [getattr(cache, name) for name in _CACHE_FIELDS]
    settings["headers"] = sorted(policy.headers)
    targets = sorted(map(_target_identity, service.targets))
    plain = msgspec.to_builtins([service.incarnation, targets, settings], builtin_types=(bytes,), order="deterministic")
    return blake2b(_encode(plain), digest_size=20, key=secret).digest()


def _target_identity(target: Target) -> bytes:
    """A server may have several sites at one address, and answer each client differently. What the gateway trusts, and
    when its certificate ends, is of no matter to the server: a renewal keeps what is stored.
    """
    url, tls = target.url.encode(), target.tls
    if tls is None or not (tls.server_name or tls.certificate):
        return url
    names = certificate_names(tls.certificate) if tls.certificate else b""
    return b"\n".join([url, tls.server_name.encode(), names])
