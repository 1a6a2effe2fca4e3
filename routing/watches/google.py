"""Requests that make and end watches, and what their responses say. No I/O.

Gmail's users.watch and users.stop (developers.google.com/workspace/gmail/api/guides/push): the same call renews a
watch, which ends within seven days. Calendar's events.watch and channels.stop (.../calendar/api/guides/push): a
channel cannot be renewed, a new one with another id is made, and both notify until the former is stopped.
"""

from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from resilience.holdoff.waits import announced_wait
from routing.errors import CallFailed, CredentialFailed, GatewayError, StreamTimeout
from routing.http import Headers
from routing.watches.record import Failure, Granted
from routing.webhooks.policy import Verify, Watch, Webhook

GONE: Final = frozenset({404, 410})
RATE_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})
OTHER_CLIENT: Final = "only one user push notification client"
"""Part of the error for a mailbox that is watched for another topic of the same project, which has to be stopped first.
"""
MAX_LIFETIME_SECONDS: Final = 400 * 86_400.0
MAX_TEXT: Final = 2_000


class Request(NamedTuple):
    """A POST to a path of the service."""

    path: str
    body: bytes


class GoogleResponse(NamedTuple):
    """The service's response."""

    status: int
    headers: Headers
    body: bytes


def watch_request(webhook: Webhook, watch: Watch, resource: str, channel: str) -> Request:
    if webhook.verify is Verify.GOOGLE_PUBSUB:
        body: dict[str, Any] = {"topicName": watch.topic}
        if watch.labels:
            behavior = "exclude" if watch.excludes_labels else "include"
            body |= {"labelIds": list(watch.labels), "labelFilterBehavior": behavior}
        return Request(f"{_mailbox(watch.base, resource)}/watch", msgspec.json.encode(body))
    token = webhook.secrets[0].decode("utf-8", "surrogateescape") if webhook.secrets else ""
    body = {"id": channel, "type": "web_hook", "address": watch.address, "token": token}
    return Request(f"{watch.base}/calendars/{_quoted(resource)}/events/watch", msgspec.json.encode(body))


def mailbox_stop_request(base: str, mailbox: str) -> Request:
    """Ends all watches of the mailbox that this project has."""
    return Request(f"{_mailbox(base, mailbox)}/stop", b"")


def channel_stop_request(base: str, channel: str, resource_id: str) -> Request:
    return Request(f"{base}/channels/stop", msgspec.json.encode({"id": channel, "resourceId": resource_id}))


def read_grant(webhook: Webhook, channel: str, reply: GoogleResponse, now: float) -> Granted | Failure:
    """What a response to `watch_request` says."""
    if not 200 <= reply.status < 300:
        return read_failure(reply, now)
    document = _document(reply.body)
    expires_at = _milliseconds(document.get("expiration"))
    if expires_at is None or not now < expires_at < now + MAX_LIFETIME_SECONDS:
        return Failure("malformed_response", "the response has no expiration in the future", is_ambiguous=True)
    if webhook.verify is Verify.GOOGLE_PUBSUB:
        return Granted(expires_at)
    resource_id, uri = document.get("resourceId"), document.get("resourceUri", "")
    if document.get("id") != channel or not isinstance(resource_id, str) or not resource_id:
        return Failure("malformed_response", "the response is not that of the channel", is_ambiguous=True)
    return Granted(expires_at, resource_id[:200], uri[:MAX_TEXT] if isinstance(uri, str) else "")


def read_failure(reply: GoogleResponse, now: float) -> Failure:
    """Why a request failed, by its response. Google says a limit with 429, or with 403 and a reason."""
    status, (reason, message) = reply.status, _error(_document(reply.body))
    wait = announced_wait(reply.headers, now) or 0.0
    is_limit = status == 429 or (status == 403 and reason in RATE_REASONS)
    is_transient = is_limit or status in (408, 425) or status >= 500 or status < 400
    return Failure(
        code=reason or f"status_{status}",
        detail=f"{status}: {message}" if message else f"the service responded with status {status}",
        is_permanent=not is_transient,
        is_gone=status in GONE,
        is_ambiguous=status >= 500 or status < 400,
        retry_after=wait,
    )


def read_error(error: GatewayError) -> Failure:
    """Why the gateway itself did not get a response."""
    reason = error.reason if isinstance(error, CallFailed) else ""
    is_permanent = not isinstance(error, CallFailed) and (
        400 <= error.status < 500 and error.status not in (408, 425, 429)
    )
    return Failure(
        code=error.code,
        detail=f"{error.detail} ({reason})" if reason else error.detail,
        is_permanent=is_permanent or isinstance(error, CredentialFailed),
        is_ambiguous=isinstance(error, CallFailed | StreamTimeout),
        retry_after=error.retry_after or 0.0,
    )


def is_watched_by_another(failure: Failure) -> bool:
    """Whether the mailbox is watched for another topic: it has to be stopped first."""
    return OTHER_CLIENT in failure.detail.lower()


def _mailbox(base: str, mailbox: str) -> str:
    return f"{base}/users/{_quoted(mailbox)}"


def _quoted(name: str) -> str:
    """One segment of a path: calendars may have `#`, and nothing may add a segment."""
    return quote(name, safe="@")


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _error(document: dict[str, Any]) -> tuple[str, str]:
    """The reason and message of Google's error."""
    error = document.get("error")
    if isinstance(error, str):
        return _word(error), ""
    if not isinstance(error, dict):
        return "", ""
    errors = error.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = error.get("message")
    shown = message[:300] if isinstance(message, str) and message.isprintable() else ""
    return _word(first.get("reason") or error.get("status")), shown


def _word(value: object) -> str:
    is_word = isinstance(value, str) and value.isascii() and value.replace("_", "").replace(".", "").isalnum()
    return value[:64] if is_word and isinstance(value, str) else ""


def _milliseconds(value: object) -> float | None:
    """Google sends them as a string, since they exceed 32 bits."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    return int(text) / 1_000 if text.isascii() and text.isdigit() and len(text) < 16 else None
