"""A delivery as the queue keeps it, what its work is, and when it is tried again. Pure rules."""

from typing import Any, Final

import msgspec

from routing.http import HOP_BY_HOP, Headers
from routing.webhooks.content import Content, placeholders
from routing.webhooks.policy import MAX_TAGS, Publish, TokenForm, Verify, Webhook

MAX_TAG_LENGTH: Final = 256
MAX_TOPIC_LENGTH: Final = 500
MAX_EVENT_BYTES: Final = 64 * 1_024
"""Largest body that is published; of a larger one, subscribers get the id alone."""
FIRST_DELAY_SECONDS: Final = 1.0
DELAY_FACTOR: Final = 4.0
MAX_DELAY_SECONDS: Final = 300.0
EVERYTHING: Final = "*"
"""The tag of all of a service's cached responses."""
CREDENTIALS: Final = frozenset(
    {b"authorization", b"cookie", b"x-api-key", b"x-goog-channel-token", b"x-forwarded-access-token"}
)
"""Fields that are neither kept nor forwarded, and that templates may not name."""
_DROPPED: Final = HOP_BY_HOP | CREDENTIALS | {b"host", b"content-length", b"expect", b"idempotency-key"}


class Delivery(msgspec.Struct, frozen=True):
    """A verified delivery whose work is not done. `id` is unique to it: retries of the provider have another one.

    `done` are the parts of the work that are; `tries` counts those that failed, the last of them for `error`.
    """

    id: str
    webhook: str
    received_at: float
    host: bytes
    scheme: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    done: tuple[str, ...] = ()
    tries: int = 0
    error: str = ""

    def failed(self, done: tuple[str, ...], error: str) -> "Delivery":
        """The same after one more try, which did these parts and then failed."""
        return msgspec.structs.replace(self, done=done, tries=self.tries + 1, error=error[:500])


class DeliveryWork(msgspec.Struct, frozen=True):
    """The work of a delivery. `tags` to invalidate, EVERYTHING among them for all; `events` to publish, as topic and
    data; `unfilled` is the number of templates for which the delivery has no value.
    """

    tags: tuple[str, ...] = ()
    events: tuple[tuple[str, Any], ...] = ()
    unfilled: int = 0


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Delivery)


def encode(delivery: Delivery) -> bytes:
    return _encoder.encode(delivery)


def decode(data: bytes) -> Delivery:
    """Raises ValueError for data that is no delivery."""
    return _decoder.decode(data)


def kept_headers(webhook: Webhook, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that are kept with a delivery: none that is a credential."""
    token = (webhook.token or TokenForm()).header.encode()
    dropped = _DROPPED | ({token} if webhook.verify is Verify.SHARED_TOKEN else set())
    return tuple((name, value) for name, value in headers if name not in dropped and not name.startswith(b"x-forward"))


def plan(webhook: Webhook, content: Content, identifier: str) -> DeliveryWork:
    """What a delivery invalidates and publishes. `identifier` is its id, for subscribers."""
    tags, unfilled = _tags(webhook, content)
    events, missing = _events(webhook.publish, webhook, content, identifier)
    return DeliveryWork(tags, events, unfilled + missing)


def retry_delay(tries: int) -> float:
    """Seconds until the next attempt, after this many."""
    delay: float = FIRST_DELAY_SECONDS * DELAY_FACTOR ** min(tries - 1, 16)
    return min(delay, MAX_DELAY_SECONDS)


def _tags(webhook: Webhook, content: Content) -> tuple[tuple[str, ...], int]:
    whole = (EVERYTHING, webhook.service)
    if any(tag in whole for tag in webhook.invalidates):
        return (EVERYTHING,), 0
    tags, unfilled, is_whole = dict[str, None](), 0, True
    for template in webhook.invalidates:
        found, is_all = content.fill_all(template)
        # A value never makes a tag that stands for the whole service: only its operator says that.
        filled = [tag for tag in found if tag not in whole and len(tag) <= MAX_TAG_LENGTH]
        unfilled += not filled
        is_whole &= is_all
        tags.update(dict.fromkeys(filled))
    # None of those that are too many may be left out, or what they name stays stored.
    return (tuple(tags) if is_whole and len(tags) <= MAX_TAGS else (EVERYTHING,)), unfilled


def _events(
    publish: Publish | None, webhook: Webhook, content: Content, identifier: str
) -> tuple[tuple[tuple[str, Any], ...], int]:
    if publish is None:
        return (), 0
    topics = [topic for topic in content.fill(publish.topic) if len(topic) <= MAX_TOPIC_LENGTH and topic.isprintable()]
    data = _data(publish, content, {"webhook": webhook.name, "id": identifier})
    return tuple((topic, data) for topic in topics), int(not topics)


def _data(publish: Publish, content: Content, named: dict[str, Any]) -> Any:
    """What subscribers learn of a delivery. `named` says which one it is, where its body is not published."""
    if isinstance(publish.data, dict):
        return {name: _value(content, template) for name, template in publish.data.items()}
    if publish.data == "none" or content.body is None:
        return named
    if len(msgspec.json.encode(content.body)) > MAX_EVENT_BYTES:
        return {**named, "truncated": True}
    return content.body


def _value(content: Content, template: str) -> Any:
    """One value, a list of several, or null."""
    filled = content.fill(template) if placeholders(template) else [template]
    return (filled[0] if len(filled) == 1 else filled) if filled else None
