"""Deliveries signed by the providers' own libraries, or as their documentation shows."""

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import stripe
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook as StandardWebhook

from routing.http import Headers
from routing.webhooks.policy import HmacForm, Verify, Webhook

SECRET = "a secret of sixteen characters or so"
STANDARD_SECRET = "whsec_" + b64encode(b"twenty-four bytes of key").decode()
NOW = 1_767_000_000.0
URI = b"https://gateway.example.com/hooks/hubspot?team=%2Fa%40b"


def webhook(verify: Verify, **more: Any) -> Webhook:
    secrets = (b"twenty-four bytes of key",) if verify is Verify.STANDARD else (SECRET.encode(),)
    if verify is Verify.HMAC:
        more.setdefault("hmac", HmacForm(header="x-signature"))
    return Webhook(name=verify.value, verify=verify, **{"secrets": secrets, **more})


def slack(body: bytes, now: float = NOW, secret: str = SECRET) -> Headers:
    time = str(int(now))
    signature = SignatureVerifier(secret).generate_signature(timestamp=time, body=body)
    assert signature
    return [(b"x-slack-request-timestamp", time.encode()), (b"x-slack-signature", signature.encode())]


def github(body: bytes, now: float = NOW, secret: str = SECRET) -> Headers:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return [(b"x-hub-signature-256", b"sha256=" + digest.encode()), (b"x-github-delivery", b"72d3162e-cc78")]


def stripe_(body: bytes, now: float = NOW, secret: str = SECRET) -> Headers:
    signed = f"{int(now)}.{body.decode()}"
    signature = stripe.WebhookSignature._compute_signature(signed, secret)
    return [(b"stripe-signature", f"t={int(now)},v1={'0' * 64},v1={signature},v0=abc".encode())]


def hubspot(body: bytes, now: float = NOW, secret: str = SECRET, uri: bytes = URI) -> Headers:
    from hubspot.utils.signature import Signature

    time = str(int(now * 1_000))
    signature = Signature.get_signature(secret, body.decode(), "v3", uri.decode(), "POST", time)
    return [(b"x-hubspot-signature-v3", signature.encode()), (b"x-hubspot-request-timestamp", time.encode())]


def standard(body: bytes, now: float = NOW, secret: str = STANDARD_SECRET) -> Headers:
    sent_at = datetime.fromtimestamp(int(now), UTC)
    signature = StandardWebhook(secret).sign("msg_2", sent_at, body.decode())
    return [
        (b"webhook-id", b"msg_2"),
        (b"webhook-timestamp", b"%d" % now),
        (b"webhook-signature", b"v1,AAAA v1a,BBBB " + signature.encode()),
    ]


def generic(body: bytes, now: float = NOW, secret: str = SECRET) -> Headers:
    return [(b"x-signature", hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode())]


def google_channel(body: bytes = b"", now: float = NOW, secret: str = SECRET) -> Headers:
    return [
        (b"x-goog-channel-id", b"team-calendar"),
        (b"x-goog-channel-token", secret.encode()),
        (b"x-goog-resource-state", b"exists"),
        (b"x-goog-message-number", b"10"),
    ]


def shared_token(body: bytes = b"", now: float = NOW, secret: str = SECRET) -> Headers:
    return [(b"x-webhook-token", secret.encode())]


SIGNERS = {
    Verify.SLACK: slack,
    Verify.GITHUB: github,
    Verify.STRIPE: stripe_,
    Verify.HUBSPOT_V3: hubspot,
    Verify.STANDARD: standard,
    Verify.HMAC: generic,
    Verify.GOOGLE_CHANNEL: google_channel,
    Verify.SHARED_TOKEN: shared_token,
}
OF_BODIES = [kind for kind in SIGNERS if kind not in (Verify.GOOGLE_CHANNEL, Verify.SHARED_TOKEN)]
"""Kinds whose signature covers the body."""
TIMED = [Verify.SLACK, Verify.STRIPE, Verify.HUBSPOT_V3, Verify.STANDARD]
"""Kinds that have a time."""


def event(**fields: Any) -> bytes:
    return json.dumps({"event_id": "Ev1", "event": {"type": "message", "channel": "C1"}, **fields}).encode()
