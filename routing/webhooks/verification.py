"""Whether a delivery is the provider's: signatures over the raw body, tokens and times. Pure rules, in constant time.

Sources: docs.slack.dev "Verifying requests from Slack"; docs.github.com "Validating webhook deliveries";
docs.stripe.com "Verify webhook signatures manually"; developers.hubspot.com "Validating requests" (v3);
standard-webhooks.com, specification 1.0; developers.google.com "Calendar push notifications".

Each rule has two parts, so that most forgeries are refused before their body is read: `prepare` looks at the header
fields and the clock, and returns the check of the body, if there is one.
"""

import binascii
import contextlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec

from routing.http import Headers
from routing.webhooks.policy import Encoding, HmacForm, TokenForm, Verify, Webhook

TOLERANCE_SECONDS: Final = 300.0
"""How far a delivery's time may be from now, before or after."""
MAX_SIGNATURES: Final = 16
"""The most signatures of one field that are compared."""

_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
_MILLISECONDS_FROM: Final = 10**11
"""Larger times of a generic HMAC are in milliseconds: in seconds they would be after the year 5000."""
_HUBSPOT_ESCAPES: Final = {
    b"%3A": b":",
    b"%2F": b"/",
    b"%3F": b"?",
    b"%40": b"@",
    b"%21": b"!",
    b"%24": b"$",
    b"%27": b"'",
    b"%28": b"(",
    b"%29": b")",
    b"%2A": b"*",
    b"%2C": b",",
    b"%3B": b";",
}
"""What HubSpot decodes in a URI before it signs it, and nothing else."""
_HUBSPOT_ESCAPE: Final = re.compile(b"|".join(_HUBSPOT_ESCAPES), re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"(\{timestamp\}|\{body\})")


class Refused(Exception):
    """The delivery is not the provider's. `reason` is a label, `detail` is shown to the sender."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SignedRequest(msgspec.Struct, frozen=True):
    """What signatures cover, apart from the body. `uri` is the one that the provider called."""

    method: str
    uri: bytes
    headers: Headers

    def field(self, name: str) -> bytes:
        """The field's value. Raises Refused if it is missing, empty or repeated: its first and last may differ."""
        values = [value for key, value in self.headers if key == name.encode()]
        if len(values) > 1:
            raise Refused("repeated_field", f"the field {name} is repeated")
        if not values or not values[0]:
            raise Refused("missing_field", f"the field {name} is missing")
        return values[0]


BodyCheck = Callable[[bytes], None]
"""Raises Refused unless the signature is that of this body."""


def prepare(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck | None:
    """Check what can be checked before the body is read. Returns the check of the body; None if nothing covers it.

    `now` is Unix time. Raises Refused. Tokens of Pub/Sub are checked in pubsub.py.
    """
    if not webhook.secrets or not all(webhook.secrets):
        raise Refused("no_secret", "the webhook has no secret")
    return _RULES[webhook.verify](webhook, request, now)


def _slack(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:
    sent = request.field("x-slack-signature")
    time = _recent(request.field("x-slack-request-timestamp"), now)
    return lambda body: _require([sent], (b"v0=" + _hex(secret, b"v0:%b:" % time, body) for secret in webhook.secrets))


def _github(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:  # noqa: ARG001 - GitHub signs no time
    sent = request.field("x-hub-signature-256")
    return lambda body: _require([sent], (b"sha256=" + _hex(secret, body) for secret in webhook.secrets))


def _stripe(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:
    pairs = [part.strip().partition(b"=") for part in request.field("stripe-signature").split(b",")]
    times = [value for name, _, value in pairs if name == b"t"]
    sent = [value for name, _, value in pairs if name == b"v1"]
    if len(times) != 1 or not sent:
        raise Refused("malformed_field", "the field stripe-signature is malformed")
    time = _recent(times[0], now)
    return lambda body: _require(sent, (_hex(secret, time + b".", body) for secret in webhook.secrets))


def _hubspot(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:
    sent = request.field("x-hubspot-signature-v3")
    time = request.field("x-hubspot-request-timestamp")
    _recent(time, now, per_second=1_000)
    decoded = _HUBSPOT_ESCAPE.sub(lambda found: _HUBSPOT_ESCAPES[found[0].upper()], request.uri)
    # HubSpot's own libraries sign the URI as it is.
    starts = [request.method.encode() + uri for uri in dict.fromkeys((decoded, request.uri))]
    return lambda body: _require(
        [sent], (_base64(secret, start, body, time) for secret in webhook.secrets for start in starts)
    )


def _standard(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:
    prefix = standard_prefix(request.headers)
    identifier = request.field(f"{prefix}-id")
    time = _recent(request.field(f"{prefix}-timestamp"), now)
    pairs = [part.partition(b",") for part in request.field(f"{prefix}-signature").split(b" ")]
    sent = [value for version, _, value in pairs if version == b"v1"]
    start = b"%b.%b." % (identifier, time)
    return lambda body: _require(sent, (_base64(secret, start, body) for secret in webhook.secrets))


def _generic(webhook: Webhook, request: SignedRequest, now: float) -> BodyCheck:
    form = webhook.hmac or HmacForm(header="x-signature")
    sent = _without_prefix(request.field(form.header), form.prefix)
    time = b""
    if form.timestamp_header:
        time = request.field(form.timestamp_header)
        _require_recent(_unix_time(time), now)
    if form.encoding is Encoding.HEX:
        sent = sent.lower()
    encode = _hex if form.encoding is Encoding.HEX else _base64

    def check(body: bytes) -> None:
        values = {"{timestamp}": time, "{body}": body}
        parts = [values.get(part, part.encode()) for part in _PLACEHOLDER.split(form.template)]
        _require([sent], (encode(secret, *parts, algorithm=form.algorithm) for secret in webhook.secrets))

    return check


def _google_channel(webhook: Webhook, request: SignedRequest, now: float) -> None:  # noqa: ARG001 - it has no time
    for name in ("x-goog-channel-id", "x-goog-resource-state", "x-goog-message-number"):
        request.field(name)
    _require([request.field("x-goog-channel-token")], webhook.secrets)


def _shared_token(webhook: Webhook, request: SignedRequest, now: float) -> None:  # noqa: ARG001 - it has no time
    form = webhook.token or TokenForm()
    _require([_without_prefix(request.field(form.header), form.prefix)], webhook.secrets)


_RULES: Final[dict[Verify, Callable[[Webhook, SignedRequest, float], BodyCheck | None]]] = {
    Verify.SLACK: _slack,
    Verify.GITHUB: _github,
    Verify.STRIPE: _stripe,
    Verify.HUBSPOT_V3: _hubspot,
    Verify.STANDARD: _standard,
    Verify.HMAC: _generic,
    Verify.GOOGLE_CHANNEL: _google_channel,
    Verify.SHARED_TOKEN: _shared_token,
}


def standard_prefix(headers: Headers) -> str:
    """What the fields of Standard Webhooks begin with: `webhook`, or `svix` in the older form that Svix's customers
    still send.
    """
    names = {name for name, _ in headers}
    return "svix" if b"svix-id" in names and b"webhook-id" not in names else "webhook"


def standard_secret(text: str) -> bytes:
    """The key of a Standard Webhooks secret, `whsec_` and base64. Raises ValueError, without any of the text."""
    digits = text.removeprefix("whsec_").rstrip("=")
    try:
        key = b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("must be whsec_ and base64")
    return key


def _require(sent: Iterable[bytes], expected: Iterable[bytes]) -> None:
    """Raise Refused unless one of the signatures sent is one of those expected. Compares all of them."""
    candidates, matches = list(sent)[:MAX_SIGNATURES], False
    for value in expected:
        for candidate in candidates:
            matches |= hmac.compare_digest(candidate, value)
    if not matches:
        raise Refused("bad_signature", "the signature is not valid")


def _recent(value: bytes, now: float, per_second: int = 1) -> bytes:
    """The time as it was sent. Raises Refused if it is not a number, or too far from `now`."""
    if _DIGITS.fullmatch(value) is None:
        raise Refused("malformed_field", "the time of the delivery is not a number")
    _require_recent(int(value) / per_second, now)
    return value


def _require_recent(sent_at: float, now: float) -> None:
    if abs(now - sent_at) > TOLERANCE_SECONDS:
        raise Refused("bad_time", f"the time of the delivery is not within {TOLERANCE_SECONDS:g} s of now")


def _unix_time(value: bytes) -> float:
    """Of a generic HMAC: seconds, milliseconds, or a time as in RFC 3339, such as Zendesk sends. Raises Refused."""
    if _DIGITS.fullmatch(value) is not None:
        return int(value) / (1_000 if int(value) >= _MILLISECONDS_FROM else 1)
    moment = None
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(value.decode("ascii"))
    if moment is None or moment.tzinfo is None:
        raise Refused("malformed_field", "the time of the delivery is neither a number nor a time with its zone")
    return moment.timestamp()


def _without_prefix(value: bytes, prefix: str) -> bytes:
    if not value.startswith(prefix.encode()):
        raise Refused("malformed_field", "the signature or token does not begin with the prefix")
    return value[len(prefix) :]


def _digest(secret: bytes, parts: Iterable[bytes], algorithm: str) -> bytes:
    mac = hmac.new(secret, digestmod=algorithm)
    for part in parts:
        mac.update(part)
    return mac.digest()


def _hex(secret: bytes, *parts: bytes, algorithm: str = "sha256") -> bytes:
    return _digest(secret, parts, algorithm).hex().encode()


def _base64(secret: bytes, *parts: bytes, algorithm: str = "sha256") -> bytes:
    return b64encode(_digest(secret, parts, algorithm))
