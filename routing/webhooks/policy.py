"""The settings of a webhook."""

from enum import StrEnum
from typing import Final

import msgspec

MAX_BODY_BYTES: Final = 1_000_000
"""Largest body of a delivery, unless the webhook sets another limit."""
LARGEST_BODY_BYTES: Final = 25 * 1_024 * 1_024
"""The highest limit that a webhook may set: GitHub's own, the largest of the providers that are known."""
MAX_TAGS: Final = 250
"""Tags that one delivery may invalidate, more than which are all of a service's; and topics on which it may publish.
HubSpot sends up to 100 events at once, each of which may name two objects.
"""


class Verify(StrEnum):
    """How a provider proves that a delivery is its own."""

    SLACK = "slack"
    GITHUB = "github"
    STRIPE = "stripe"
    HUBSPOT_V3 = "hubspot_v3"
    STANDARD = "standard"
    HMAC = "hmac"
    GOOGLE_CHANNEL = "google_channel"
    GOOGLE_PUBSUB = "google_pubsub"
    SHARED_TOKEN = "shared_token"  # noqa: S105 - a kind of verification


class Algorithm(StrEnum):
    SHA256 = "sha256"
    SHA512 = "sha512"
    SHA1 = "sha1"


class Encoding(StrEnum):
    HEX = "hex"
    BASE64 = "base64"


class HmacForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a generic HMAC: the field `header` has `prefix` and the encoded digest of `template`.

    `{timestamp}` in the template is the value of the field `timestamp_header` (Unix seconds or milliseconds, or RFC
    3339), `{body}` the raw body.
    """

    header: str
    algorithm: Algorithm = Algorithm.SHA256
    encoding: Encoding = Encoding.HEX
    prefix: str = ""
    timestamp_header: str = ""
    template: str = "{body}"


class TokenForm(msgspec.Struct, frozen=True, kw_only=True):
    """The field of a shared token, and what comes before the token in its value."""

    header: str = "x-webhook-token"
    prefix: str = ""


class PubSubForm(msgspec.Struct, frozen=True, kw_only=True):
    """The claims that the token of a Pub/Sub push must have, and where the keys are published that sign it."""

    audience: str
    email: str
    keys_url: str = "https://www.googleapis.com/oauth2/v1/certs"


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """The event that a delivery becomes. `data` is `body`, `none`, or a mapping of names to templates."""

    topic: str
    type: str = "webhook"
    data: str | dict[str, str] = "body"

    @property
    def prefix(self) -> str:
        """What all topics of this template begin with."""
        return self.topic.partition("{")[0]


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """Where deliveries are forwarded to: a path of a service."""

    service: str = ""
    path: str = "/"


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway subscribes to at Google, and renews: mailboxes of Gmail, whose changes go to the Pub/Sub topic
    `topic`, or calendars, whose notifications go to `address`.

    `resources` are the mailboxes or calendars; `labels` those of Gmail that are watched, all if it is empty, or with
    `excludes_labels` all others. `renew_before` is in seconds before the end. `base` is the API's path on the service.
    """

    resources: tuple[str, ...]
    base: str
    topic: str = ""
    address: str = ""
    labels: tuple[str, ...] = ()
    excludes_labels: bool = False
    renew_before: float | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. `secrets` are one or two, the second for the time of a rotation.

    `service` is the one whose cached responses are invalidated, every one if it is empty. Its callers alone may
    subscribe to what the webhook publishes.

    `id` is a template of what identifies a delivery, where the provider has no field for it that is known. `faults`
    are those of its settings, if they cannot be loaded: it then refuses every delivery, so that providers retry.
    """

    name: str
    verify: Verify
    secrets: tuple[bytes, ...] = ()
    enabled: bool = True
    service: str = ""
    invalidates: tuple[str, ...] = ()
    publish: Publish | None = None
    forward: Forward | None = None
    id: str = ""
    attempts: int = 5
    max_body_bytes: int = MAX_BODY_BYTES
    hmac: HmacForm | None = None
    token: TokenForm | None = None
    pubsub: PubSubForm | None = None
    watch: Watch | None = None
    faults: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The settings without secrets."""
        return f"Webhook({self.name!r}, {self.verify.value})"
