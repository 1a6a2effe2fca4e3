"""Decodes the `watch` of a webhook: what the gateway subscribes to at Google. No Django, no I/O."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from routing.configuration.faults import Faults
from routing.configuration.values import duration, list_of, mapping_of, string
from routing.router.credential_policy import LOOPBACK
from routing.webhooks.policy import Verify, Watch

KEY: Final = "watch"
MAX_RESOURCES: Final = 1_000
MAX_LABELS: Final = 100
MIN_SECONDS: Final = 60.0
MAX_SECONDS: Final = 30 * 86_400.0
_TOPIC: Final = re.compile(r"projects/[A-Za-z0-9:.-]{1,100}/topics/[A-Za-z][A-Za-z0-9_.~+%-]{2,254}")
_KINDS: Final = {Verify.GOOGLE_PUBSUB: "google_pubsub", Verify.GOOGLE_CHANNEL: "google_channel"}
_ONLY: Final = {
    "topic": Verify.GOOGLE_PUBSUB,
    "mailboxes": Verify.GOOGLE_PUBSUB,
    "labels": Verify.GOOGLE_PUBSUB,
    "exclude_labels": Verify.GOOGLE_PUBSUB,
    "address": Verify.GOOGLE_CHANNEL,
    "calendars": Verify.GOOGLE_CHANNEL,
}
"""Keys that belong to one kind of verification."""
_BASES: Final = {Verify.GOOGLE_PUBSUB: "/gmail/v1", Verify.GOOGLE_CHANNEL: "/calendar/v3"}
_DEFAULT_RESOURCES: Final = {Verify.GOOGLE_PUBSUB: ("me",), Verify.GOOGLE_CHANNEL: ("primary",)}


def parse(value: object) -> dict[str, Any] | None:
    """The settings by key, for `complete`; None for false."""
    if value is False:
        return None
    found: dict[str, Any] = mapping_of(
        {
            "topic": _topic,
            "address": _address,
            "mailboxes": _resources,
            "calendars": _resources,
            "labels": _labels,
            "exclude_labels": _labels,
            "renew_before": _renew_before,
            "base": _base,
        }
    )(value)
    return found


def complete(settings: dict[str, Any], faults: Faults) -> None:
    """Replace the parsed `watch` of a webhook's settings by a Watch, and check it against the rest."""
    given = settings.pop(KEY, None)
    if given is None:
        return
    verify = settings.get("verify")
    if verify not in _KINDS:
        faults.add((KEY,), "is for verify: google_pubsub (Gmail) or google_channel (Calendar)")
        return
    for key in given:
        if _ONLY.get(key, verify) is not verify:
            faults.add((KEY, key), f"is for verify: {_KINDS[_ONLY[key]]}")
    needed = "topic" if verify is Verify.GOOGLE_PUBSUB else "address"
    if needed not in given:
        faults.add((KEY,), f"needs '{needed}'")
    if not settings.get("service"):
        faults.add((KEY,), "needs 'service', whose targets and credential it uses")
    if "labels" in given and "exclude_labels" in given:
        faults.add((KEY,), "has either 'labels' or 'exclude_labels'")
    settings[KEY] = Watch(
        resources=given.get("mailboxes") or given.get("calendars") or _DEFAULT_RESOURCES[verify],
        base=given.get("base", _BASES[verify]),
        topic=given.get("topic", ""),
        address=given.get("address", ""),
        labels=given.get("labels") or given.get("exclude_labels") or (),
        excludes_labels="exclude_labels" in given,
        renew_before=given.get("renew_before"),
    )


def _topic(value: object) -> str:
    text = string(value)
    if _TOPIC.fullmatch(text) is None:
        raise ValueError("must be the name of a Pub/Sub topic: projects/PROJECT/topics/TOPIC")
    return text


def _address(value: object) -> str:
    """The webhook's public address. Google sends to https only; on loopback, the demonstration does."""
    text = string(value)
    parts = urlsplit(text)
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 1_000 or not parts.hostname:
        raise ValueError("must be the webhook's public address: https://HOST/hooks/NAME")
    if parts.username is not None or parts.fragment:
        raise ValueError("must have no user and no fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("must be https")
    return text


def _resources(value: object) -> tuple[str, ...]:
    found: tuple[str, ...] = tuple(dict.fromkeys(list_of(_resource)(value)))
    if not 1 <= len(found) <= MAX_RESOURCES:
        raise ValueError(f"must be 1 to {MAX_RESOURCES}")
    return found


def _resource(value: object) -> str:
    text = string(value)
    if not 1 <= len(text) <= 300 or not text.isprintable() or " " in text:
        raise ValueError("must be 1 to 300 printable characters without spaces")
    if text in (".", ".."):
        raise ValueError("is not an id")
    return text


def _labels(value: object) -> tuple[str, ...]:
    found: tuple[str, ...] = list_of(_resource)(value)
    if len(found) > MAX_LABELS:
        raise ValueError(f"must be at most {MAX_LABELS}")
    return found


def _renew_before(value: object) -> float:
    seconds = duration(value)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError("must be between 1m and 30d")
    return seconds


def _base(value: object) -> str:
    text = string(value)
    plain = text.replace("/", "").replace("-", "").replace("_", "").replace(".", "")
    if text and (not text.startswith("/") or text.endswith("/") or ".." in text or not text.isascii()):
        raise ValueError("must be a path such as /calendar/v3, or empty")
    if text and not plain.isalnum():
        raise ValueError("must be a path such as /calendar/v3, or empty")
    return text
