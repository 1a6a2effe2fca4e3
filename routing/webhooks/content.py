"""The content of a delivery: its fields for templates, the id that retries share, and handshakes. Pure rules."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice, product
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from routing.errors import BadRequest
from routing.http import Headers, first
from routing.messages.json_decoding import decode_json
from routing.messages.media_type import may_be_json
from routing.webhooks.policy import MAX_TAGS, Verify, Webhook
from routing.webhooks.verification import standard_prefix

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)(\|lower)?\}")
"""A path, and whether its value is wanted in lower case."""
MAX_VALUE_LENGTH: Final = 200
"""Longest value of a placeholder, in characters."""
REMEMBERED_SECONDS: Final = 86_400.0
"""How long the id of a delivery is remembered."""
REMEMBERED_BODY_SECONDS: Final = 600.0
"""The same for a digest of the body, where a later delivery may have the same content and be another one."""
_FORM: Final = b"application/x-www-form-urlencoded"
_MAX_FORM_FIELDS: Final = 1_000
_MAX_ITEMS: Final = 1_000
"""Values of a placeholder that are looked at, and items of each list on the way to them."""
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")
_ID_PATHS: Final[dict[Verify, tuple[str, ...]]] = {
    Verify.SLACK: ("event_id",),
    Verify.GITHUB: ("header.x-github-delivery",),
    Verify.STRIPE: ("id",),
    Verify.GOOGLE_CHANNEL: ("header.x-goog-channel-id", "header.x-goog-message-number"),
    Verify.GOOGLE_PUBSUB: ("subscription", "message.messageId"),
}
"""Where a provider puts its own id of a delivery."""
_HUBSPOT_ID: Final = ("portalId", "subscriptionId", "eventId", "objectId", "occurredAt")


class DeliveryIdentity(msgspec.Struct, frozen=True):
    """What a delivery and its retries have in common, and for how many seconds it is remembered."""

    key: str
    seconds: float


class Content(msgspec.Struct, frozen=True):
    """A verified delivery. `body` is the decoded body, None if there is none that can be decoded."""

    headers: Headers
    body: Any

    @classmethod
    def read(cls, webhook: Webhook, headers: Headers, raw: bytes) -> "Content":
        """Decode a body: JSON, a form (whose `payload` may be JSON), or for other media types nothing. In a form of
        GitHub's, `payload` is what is the body otherwise.

        Raises BadRequest for malformed JSON.
        """
        content_type = (first(headers, b"content-type") or b"").split(b";")[0].strip().lower()
        if not raw:
            body: Any = None
        elif content_type == _FORM and raw.lstrip()[:1] not in (b"{", b"["):  # which `curl -d` sends as a form
            body = _form(raw)
            if webhook.verify is Verify.GITHUB and isinstance(body.get("payload"), dict):
                body = {**body, **body["payload"]}
        else:
            body = _json(raw, is_required=may_be_json(content_type.decode("latin-1")))
        if webhook.verify is Verify.GOOGLE_PUBSUB and isinstance(body, dict):
            body = {**body, "data": _pushed(body)}
        return cls(headers, body)

    def values(self, path: str) -> list[str]:
        """The values at a dotted path: those of all items where the path leads through lists.

        `header.NAME` is a header field. Only texts, numbers and booleans are values, at most MAX_TAGS.
        """
        return self._values(path)[0]

    def fill(self, template: str) -> list[str]:
        """The template with each combination of its placeholders' values, at most MAX_TAGS; none if one is missing."""
        return self.fill_all(template)[0]

    def fill_all(self, template: str) -> tuple[list[str], bool]:
        """The same, and whether these are all."""
        names = list(dict.fromkeys(placeholders(template)))
        found = [self._values(name) for name in names]
        combinations = list(islice(product(*(values for values, _ in found)), MAX_TAGS + 1))
        filled = [_substitute(template, dict(zip(names, values, strict=True))) for values in combinations[:MAX_TAGS]]
        is_whole = len(combinations) <= MAX_TAGS and all(is_whole for _, is_whole in found)
        return list(dict.fromkeys(filled)), is_whole

    def _values(self, path: str) -> tuple[list[str], bool]:
        head, _, rest = path.partition(".")
        if head == "header" and rest:
            field = first(self.headers, rest.lower().encode())
            return _texts([field.decode("utf-8", "replace")] if field else [])
        return _texts(list(islice(_walk(self.body, path.split(".")), _MAX_ITEMS + 1)))


def identity(webhook: Webhook, content: Content, raw: bytes) -> DeliveryIdentity:
    """What identifies the delivery among all of the gateway's."""
    known = content.fill(webhook.id) if webhook.id else _known_id(webhook.verify, content)
    if known:
        return DeliveryIdentity(_digest(webhook.name, "id", *known), REMEMBERED_SECONDS)
    sent_at = _timestamp(webhook, content.headers)
    seconds = REMEMBERED_SECONDS if sent_at else REMEMBERED_BODY_SECONDS
    return DeliveryIdentity(_digest(webhook.name, "body", sent_at, raw), seconds)


def handshake(webhook: Webhook, content: Content) -> bytes | None:
    """The JSON body of the response to a provider's handshake; None for any other delivery."""
    body = content.body
    if webhook.verify is Verify.SLACK and isinstance(body, dict) and body.get("type") == "url_verification":
        return msgspec.json.encode({"challenge": str(body.get("challenge", ""))[:1_000]})
    if webhook.verify is Verify.GOOGLE_CHANNEL and first(content.headers, b"x-goog-resource-state") == b"sync":
        return b"{}"
    return None


def _substitute(template: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: values[found[1]].lower() if found[2] else values[found[1]], template)


def placeholders(template: str) -> list[str]:
    """The dotted paths in a template. Raises ValueError for braces that are none."""
    if "{" in PLACEHOLDER.sub("", template) or "}" in PLACEHOLDER.sub("", template):
        raise ValueError("braces are for fields: {event.channel}, {header.x-goog-channel-id}")
    return [found[1] for found in PLACEHOLDER.finditer(template)]


def _known_id(verify: Verify, content: Content) -> list[str]:
    """The provider's own id of the delivery; empty if it has none."""
    if verify is Verify.HUBSPOT_V3:
        return _hubspot_id(content.body)
    if verify is Verify.STANDARD:
        return content.values(f"header.{standard_prefix(content.headers)}-id")
    found = [content.values(path) for path in _ID_PATHS.get(verify, ())]
    return [value for values in found for value in values] if all(found) else []


def _hubspot_id(body: Any) -> list[str]:
    """Those of all events. `attemptNumber`, which differs between retries, is not part of it."""
    if not isinstance(body, list) or not all(isinstance(event, dict) and "eventId" in event for event in body):
        return []
    return sorted("|".join(str(event.get(name, "")) for name in _HUBSPOT_ID) for event in body)


def _timestamp(webhook: Webhook, headers: Headers) -> bytes:
    names = {
        Verify.SLACK: "x-slack-request-timestamp",
        Verify.STRIPE: "stripe-signature",
        Verify.HUBSPOT_V3: "x-hubspot-request-timestamp",
        Verify.HMAC: webhook.hmac.timestamp_header if webhook.hmac else "",
    }
    return first(headers, names.get(webhook.verify, "").encode()) or b""


def _digest(*parts: str | bytes) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return digest.hexdigest()


def _json(raw: bytes, *, is_required: bool) -> Any:
    try:
        return decode_json(raw)
    except (ValueError, RecursionError) as error:
        if is_required:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BadRequest(f"the body is not valid JSON: {reason}") from None
        return None


def _form(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        raise BadRequest("the body is not a valid form") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    if "payload" in fields:  # Slack's interactions, GitHub's forms
        fields["payload"] = _json(fields["payload"].encode(), is_required=False)
    return fields


def _pushed(body: Mapping[str, Any]) -> Any:
    """The data of a Pub/Sub message, in either alphabet of base64; None if it is not JSON."""
    message = body.get("message")
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, str):
        return None
    try:
        return decode_json(b64decode(data.translate(_STANDARD_ALPHABET) + "=="))
    except (ValueError, RecursionError):
        return None


def _walk(value: Any, steps: list[str]) -> Iterator[Any]:
    """The values at the end of a path. A number may select an item of a list."""
    for index, step in enumerate(steps):
        if isinstance(value, list) and not (step.isascii() and step.isdigit()):
            for item in value[: _MAX_ITEMS + 1]:
                yield from _walk(item, steps[index:])
            return
        if isinstance(value, list):
            value = value[int(step)] if len(step) < 6 and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    yield from value[: _MAX_ITEMS + 1] if isinstance(value, list) else (value,)


def _texts(values: Sequence[Any]) -> tuple[list[str], bool]:
    """The different texts of values, at most MAX_TAGS, and whether these are all."""
    texts = dict[str, None]()
    for value in values:
        if isinstance(value, bool):
            texts["true" if value else "false"] = None
        elif isinstance(value, str | int) and str(value) and len(str(value)) <= MAX_VALUE_LENGTH:
            texts[str(value)] = None
    return list(texts)[:MAX_TAGS], len(values) <= _MAX_ITEMS and len(texts) <= MAX_TAGS
