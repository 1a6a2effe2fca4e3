"""Notification channels of the demonstration's Calendar API (developers.google.com/workspace/calendar/api/guides/push).

Notifications have no body and no signature: the channel's token is their proof.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from routing.demo.controls import LOOPBACK, Controls
from routing.demo.google import GoogleError, invalid, not_found

MAX_CHANNELS: Final = 1_000


@dataclass
class Channel:
    """`expires` in milliseconds of Unix time; `sent` notifications."""

    key: str
    calendar: str
    address: str
    token: str
    expires: int
    sent: int = 0


class Channels:
    """Channels by id."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._channels: dict[str, Channel] = {}

    def watch(self, calendar: str, given: dict[str, Any]) -> dict[str, Any]:
        """A new channel, to which `sync` is sent. Raises GoogleError."""
        key, address = given.get("id"), given.get("address")
        if not isinstance(key, str) or not key or given.get("type") not in ("web_hook", "webhook"):
            raise invalid("id" if not key else "type")
        if not isinstance(address, str) or urlsplit(address).hostname not in LOOPBACK:
            raise invalid("address")
        if key in self._channels:
            raise GoogleError(400, "channelIdNotUnique", f"Channel id {key} not unique")
        if len(self._channels) >= MAX_CHANNELS:
            raise GoogleError(403, "rateLimitExceeded", "Too many channels", domain="usageLimits")
        expires = _expiration(given, self._controls.settings.watch_seconds)
        channel = Channel(key, calendar, address, str(given.get("token", "")), expires)
        self._channels[key] = channel
        self._notify(channel, "sync")
        shown = {"kind": "api#channel", "id": key, "resourceId": _resource(calendar), "resourceUri": _uri(calendar)}
        return {**shown, "token": channel.token, "expiration": str(expires)}

    def stop(self, given: dict[str, Any]) -> None:
        channel = self._channels.get(str(given.get("id")))
        if channel is not None and channel.expires <= time.time() * 1_000:
            del self._channels[channel.key]
            raise not_found()
        if channel is None or given.get("resourceId") != _resource(channel.calendar):
            raise not_found()
        del self._channels[channel.key]

    def report(self, calendar: str) -> None:
        now = time.time() * 1_000
        for channel in self._channels.values():
            if channel.calendar == calendar and now < channel.expires:
                self._notify(channel, "exists")

    def _notify(self, channel: Channel, state: str) -> None:
        channel.sent += 1
        fields = {
            "X-Goog-Channel-ID": channel.key,
            "X-Goog-Channel-Token": channel.token,
            "X-Goog-Channel-Expiration": time.strftime(
                "%a, %d %b %Y %H:%M:%S GMT", time.gmtime(channel.expires / 1_000)
            ),
            "X-Goog-Resource-ID": _resource(channel.calendar),
            "X-Goog-Resource-URI": _uri(channel.calendar),
            "X-Goog-Resource-State": state,
            "X-Goog-Message-Number": str(channel.sent),
        }
        self._controls.sender.send(channel.address, b"", lambda _: fields)


def _expiration(given: dict[str, Any], longest: float) -> int:
    """In milliseconds: what was asked for, by time or by lifetime, at most `longest` seconds from now. Raises
    GoogleError.
    """
    now = time.time() * 1_000
    params = given.get("params")
    ttl = params.get("ttl") if isinstance(params, dict) else None
    try:
        wanted = int(given.get("expiration") or (now + float(ttl or longest) * 1_000))
    except (ValueError, TypeError):
        raise invalid("expiration") from None
    if wanted <= now:
        raise invalid("expiration")
    return int(min(wanted, now + longest * 1_000))


def _resource(calendar: str) -> str:
    return hashlib.sha256(calendar.encode()).hexdigest()[:27]


def _uri(calendar: str) -> str:
    return f"https://www.googleapis.com/calendar/v3/calendars/{calendar}/events?alt=json"
