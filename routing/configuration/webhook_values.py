"""Parsers of a webhook's settings. No Django, no I/O."""

from typing import Final
from urllib.parse import urlsplit

from resilience.cache.policy import LOWER
from routing.configuration.faults import Faults
from routing.configuration.headers import MASK, reference, resolve
from routing.configuration.values import SecretLookup, ValueParser, list_of, mapping, mapping_of, string
from routing.router.credential_policy import LOOPBACK
from routing.router.policy import NAME
from routing.webhooks.content import placeholders
from routing.webhooks.delivery import CREDENTIALS, EVERYTHING, MAX_TAG_LENGTH, MAX_TOPIC_LENGTH
from routing.webhooks.policy import Forward, Publish

MAX_SECRETS: Final = 2
MAX_TEMPLATES: Final = 20
MAX_DATA_FIELDS: Final = 20
OWN_TOPICS: Final = ("service", "tag", "resource", "caller", "tenant")
"""Kinds of topics whose subscribers are restricted by rules of their own (routing/realtime/topics.py)."""


def secrets(secret: SecretLookup) -> ValueParser:
    """One secret, or a list of two while one replaces the other. Error messages never contain one."""

    def parse(value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        if not 1 <= len(items) <= MAX_SECRETS:
            raise ValueError(f"must be one secret, or a list of at most {MAX_SECRETS}")
        faults, found = Faults(), []
        for index, item in enumerate(items):
            with faults.at(*(() if items is not value else (index,))):
                found.append(_secret(item, secret))
        faults.raise_if_any()
        return tuple(found)

    return parse


def _secret(value: object, secret: SecretLookup) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string (put it in quotes)")
    found = reference(value)
    if found is None:
        if not value or value.startswith(("env:", "file:", MASK)):
            raise ValueError("must be env:NAME, file:/PATH or the secret itself")
        return value
    if found.scheme:
        raise ValueError("must be env:NAME or file:/PATH alone")
    return resolve(found, secret)


def template(value: object) -> str:
    """A text with the fields of a delivery in braces. Raises ValueError, also for fields that are credentials."""
    text = string(value)
    if not 1 <= len(text) <= MAX_TAG_LENGTH:
        raise ValueError(f"must have 1 to {MAX_TAG_LENGTH} characters")
    for path in placeholders(text):
        head, _, name = path.partition(".")
        if head == "header" and name.lower().encode() in CREDENTIALS:
            raise ValueError(f"the field {name} is a credential")
    return text


def identifier(value: object) -> str:
    """A template that differs between deliveries: all that have one id are one."""
    text = template(value)
    if not placeholders(text):
        raise ValueError("must have a field, such as {header.x-delivery}: deliveries with one id are taken for one")
    return text


def tags(value: object) -> tuple[str, ...]:
    found: tuple[str, ...] = list_of(template)(value)
    if len(found) > MAX_TEMPLATES:
        raise ValueError(f"must be at most {MAX_TEMPLATES} tags")
    if EVERYTHING in found and len(found) > 1:
        raise ValueError(f"{EVERYTHING!r} stands for all cached responses, and alone")
    return found


def publish(value: object) -> Publish | None:
    if value is False:
        return None
    settings = mapping_of({"topic": _topic, "type": _event_type, "data": _event_data})(value)
    if "topic" not in settings:
        raise ValueError("needs a topic")
    return Publish(**settings)


def _topic(value: object) -> str:
    text = template(value)
    if len(text) > MAX_TOPIC_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a topic is visible ASCII without spaces")
    kind, colon, _ = text.partition("{")[0].partition(":")
    if not kind or (kind in OWN_TOPICS and not colon):
        raise ValueError("a topic begins with a text of its own, as in slack:{event.type}")
    return text


def _event_type(value: object) -> str:
    text = string(value)
    plain = text.replace(".", "").replace("_", "").replace("-", "")
    if not (1 <= len(text) <= 64 and plain.isalnum() and text.isascii()):
        raise ValueError("must be 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def _event_data(value: object) -> str | dict[str, str]:
    if value in ("body", "none"):
        return str(value)
    if not isinstance(value, dict) or len(value) > MAX_DATA_FIELDS:
        raise ValueError("must be body, none, or a mapping of names to templates")
    faults, data = Faults(), {}
    for name, item in mapping(value).items():
        with faults.at(name):
            data[name] = template(item)
    faults.raise_if_any()
    return data


def forward(value: object) -> Forward | None:
    if value is False:
        return None
    return Forward(**mapping_of({"service": service, "path": _path})(value))


def _path(value: object) -> str:
    text = string(value)
    if not text.startswith("/") or not text.isascii() or not text.isprintable() or " " in text or "#" in text:
        raise ValueError("must be a path: ASCII, starting with '/'")
    return text


def service(value: object) -> str:
    if NAME.fullmatch(string(value)) is None:
        raise ValueError("must be the name of a service")
    return str(value)


def prefix(value: object) -> str:
    text = string(value)
    if not text.isascii() or not text.isprintable() or len(text) > 64:
        raise ValueError("must be printable ASCII")
    return text


def signed_template(value: object) -> str:
    text = string(value)
    if "{body}" not in text or set(placeholders(text)) - {"body", "timestamp"} or LOWER in text:
        raise ValueError("must contain {body}, and no other field than {timestamp}")
    return text


def plain_text(value: object) -> str:
    text = string(value).strip()
    if not text or len(text) > 500:
        raise ValueError("must have 1 to 500 characters")
    return text


def keys_url(value: object) -> str:
    """Where keys are published that prove who has sent a delivery: whoever could replace them could send any."""
    parts = urlsplit(string(value))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an https URL")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must be https, unless it is on loopback")
    return str(value)
