"""The configuration of usage and its events: the METERING variables."""

from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from gateway_project.environment.values import Get, boolean, integer, one_of
from metrics.usage.cloudevents import Format
from resilience.usage.policy import zone
from routing.configuration.faults import ConfigurationError
from routing.configuration.headers import headers
from routing.configuration.http_urls import split_http_url
from routing.configuration.values import SecretLookup

DEFAULT_TYPE: Final = "gateway.usage"
DEFAULT_SOURCE: Final = "intelligence-gateway"
MAX_TEXT: Final = 255


class Metering(msgspec.Struct, frozen=True, kw_only=True):
    """`timezone` is where days begin, `retention` how many are kept. Events are sent to `url`, if that is set, every
    `interval` seconds; `headers` may refer to secrets.
    """

    enabled: bool
    timezone: ZoneInfo
    retention: int
    url: str = ""
    format: Format = Format.BATCH
    headers: dict[str, str] = {}
    interval: int = 60
    type: str = DEFAULT_TYPE
    source: str = DEFAULT_SOURCE


def read(get: Get) -> Metering:
    return Metering(
        enabled=get("METERING", True, boolean),
        timezone=get("METERING_TIMEZONE", ZoneInfo("UTC"), zone),
        retention=get("METERING_RETENTION", 400, integer(1, 3_660)),
        url=get("METERING_URL", "", _url),
        format=Format(get("METERING_FORMAT", Format.BATCH.value, one_of(*Format))),
        headers=get("METERING_HEADERS", {}, _headers),
        interval=get("METERING_INTERVAL", 60, integer(1, 86_400)),
        type=get("METERING_TYPE", DEFAULT_TYPE, _text),
        source=get("METERING_SOURCE", DEFAULT_SOURCE, _text),
    )


def faults(config: Metering, secret: SecretLookup, *, debug: bool) -> list[str]:
    """What is missing or contradictory among the variables."""
    found = []
    parts = urlsplit(config.url)
    if config.url and not config.enabled:
        found.append("METERING_URL: requires METERING")
    if parts.scheme == "http" and config.headers and not debug and parts.hostname not in ("127.0.0.1", "::1"):
        found.append("METERING_URL: http is not allowed with METERING_HEADERS, whose secrets would not be encrypted")
    try:
        headers(secret)(config.headers)
    except (ValueError, ConfigurationError) as error:
        found.append(f"METERING_HEADERS: {error}")
    return found


def _url(text: str) -> str:
    """Error messages contain nothing of it, since a path or a query may be secret."""
    parts = split_http_url(text)
    if parts is None:
        raise ValueError("must be an http:// or https:// URL")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must have neither a user nor a fragment; write credentials in METERING_HEADERS")
    return text


def _headers(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        raise ValueError('must be a JSON object such as {"Authorization": "Bearer env:GATEWAY_SECRET_TOKEN"}') from None


def _text(text: str) -> str:
    if len(text) > MAX_TEXT or not text.isascii() or not text.isprintable():
        raise ValueError(f"must be at most {MAX_TEXT} printable ASCII characters")
    return text
