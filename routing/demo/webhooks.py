"""Webhooks of the demonstration: how each provider signs them, and a sender that tries again."""

import asyncio
import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Final

import aiohttp

RETRY_SECONDS: Final = (1.0, 5.0, 30.0)
TIMEOUT: Final = aiohttp.ClientTimeout(total=3)
"""Slack's; the others wait longer."""
MAX_PENDING: Final = 1_000
SignedFields = Callable[[int], dict[str, str]]
"""The header fields of an attempt, which are signed for it. Attempt 0 is the first."""


class WebhookSender:
    """Sends in the background. What is not accepted with a 2xx is sent again three times."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, url: str, body: bytes, fields: SignedFields) -> None:
        if len(self._tasks) >= MAX_PENDING:
            return
        task = asyncio.create_task(self._deliver(url, body, fields))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, _: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, url: str, body: bytes, fields: SignedFields) -> None:
        for attempt, pause in enumerate((0.0, *RETRY_SECONDS)):
            await asyncio.sleep(pause)
            if await self._accepted(url, body, fields(attempt)):
                return

    async def _accepted(self, url: str, body: bytes, fields: dict[str, str]) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.post(url, data=body, headers=fields) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError):
            return False


def slack_fields(secret: str, body: bytes, attempt: int) -> dict[str, str]:
    """docs.slack.dev/authentication/verifying-requests-from-slack."""
    now = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:%s:%s" % (now.encode(), body), hashlib.sha256).hexdigest()
    fields = {
        "Content-Type": "application/json",
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": now,
        "X-Slack-Signature": f"v0={digest}",
    }
    if attempt:
        fields |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_error"}
    return fields


def hubspot_fields(secret: str, url: str, body: bytes) -> dict[str, str]:
    """Version 3 of developers.hubspot.com's request validation."""
    now = str(int(time.time() * 1_000))
    digest = hmac.new(secret.encode(), b"POST" + url.encode() + body + now.encode(), hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Request-Timestamp": now,
        "X-HubSpot-Signature-v3": b64encode(digest).decode(),
        "X-HubSpot-Signature-Version": "v3",
    }
