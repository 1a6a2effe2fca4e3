"""KrakenD's components in `extra_config`, also under the names that they had before version 2 of KrakenD."""

import re
from typing import Final

from routing.imports.report import Section

_FORMER: Final = {
    "auth/validator": "krakend-jose/validator",
    "qos/ratelimit/router": "krakend-ratelimit(?:/juju|/rate)?/router",
    "qos/ratelimit/proxy": "krakend-ratelimit(?:/juju|/rate)?/proxy",
    "qos/circuit-breaker": "krakend-circuitbreaker/gobreaker",
    "qos/http-cache": "krakend-httpcache",
    "security/cors": "krakend-cors",
}
_COMPOSING: Final = ("backend/graphql", "backend/soap", "modifier/martian", "modifier/request-body-generator")
_OLD_COMPOSING: Final = re.compile(r"github[._]com/.*(?:graphql|martian)", re.IGNORECASE)
_NOT_HTTP: Final = tuple(
    f"backend/{name}" for name in ("amqp", "grpc", "lambda", "nats", "pubsub", "static-filesystem")
)
_OLD_NOT_HTTP: Final = re.compile(r"github[._]com/.*(?:amqp|lambda|pubsub)", re.IGNORECASE)
_CAPITAL: Final = re.compile(r"(?<=[a-z])([A-Z])")


def makes_requests(component: str) -> bool:
    """Whether it makes the request to the backend. Without it, callers may ask for anything."""
    return component.startswith(_COMPOSING) or _OLD_COMPOSING.match(component) is not None


def is_no_http(component: str) -> bool:
    """Whether the backend is no HTTP server. Its host is not called, and may not be here either."""
    return component.startswith(_NOT_HTTP) or _OLD_NOT_HTTP.match(component) is not None


def has_component(extra: Section, name: str) -> bool:
    return _key(extra, name) in extra


def component(extra: Section, name: str) -> Section:
    """The settings of a component, read. Those of former versions, such as `maxRate`, have their present names."""
    key = _key(extra, name)
    if key == name:
        return extra.item(key)
    path, value = (*extra.path, key), extra.take(key)
    if isinstance(value, dict):
        value = {_CAPITAL.sub(r"_\1", str(each)).lower().replace("-", "_"): item for each, item in value.items()}
    return Section(value, path, extra.report)


def _key(extra: Section, name: str) -> str:
    """The name that the file has for the component: `github.com/devopsfaith/…` and `github_com/…` are former ones."""
    if name in extra:
        return name
    former = re.compile(rf"github[._]com/(?:devopsfaith|krakendio)/{_FORMER[name]}")
    return next((key for key in extra.names if former.fullmatch(key)), name)
