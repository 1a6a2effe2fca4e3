"""Sends a message to its recipient, once: over HTTP, SMTP, or through Apprise."""

import asyncio
import contextlib
import smtplib
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from email.utils import formatdate
from functools import partial
from importlib.util import find_spec
from typing import Final

from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend

from metrics.alerts import payloads
from metrics.alerts.messages import QueuedMessage
from metrics.alerts.settings import AlertSettings, SmtpServer
from resilience.holdoff.waits import announced_wait
from routing.alerts.policy import Recipient, RecipientKind
from routing.backend.client import Backend, Call
from routing.backend.reasons import CONNECT_TIMEOUT, failure_reason
from routing.errors import CallFailed, GatewayError
from routing.http import Headers
from routing.messages.bodies import read_up_to
from routing.router.policy import Target, Timeout

LIMIT_SECONDS: Final = 10.0
"""The time limit of one HTTP request, name lookup included, and of each SMTP command."""
TOTAL_SECONDS: Final = 30.0
"""The time limit of a message, however it is sent."""
MAX_RESPONSE_BYTES: Final = 16 * 1024
MAX_RETRY_AFTER_SECONDS: Final = 3_600.0
REFUSALS: Final = frozenset({400, 410, 413, 422})
"""Statuses that say that this message will not be accepted, however often it is sent."""
_TIMEOUT: Final = Timeout(
    connect=LIMIT_SECONDS, read=LIMIT_SECONDS, total=LIMIT_SECONDS, idle=LIMIT_SECONDS, stream=LIMIT_SECONDS
)


class SendFailed(Exception):
    """The text contains no secret. `retry_after` is in seconds, 0 if the receiver has named no time."""

    def __init__(self, reason: str, *, is_final: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.retry_after = retry_after


class Sender:
    """`executor` runs what blocks."""

    def __init__(self, client: Backend, settings: AlertSettings, executor: Executor) -> None:
        self._client = client
        self._settings = settings
        self._executor = executor

    async def send(self, recipient: Recipient, message: QueuedMessage, now: float) -> None:
        """Raises SendFailed. `now` is Unix seconds."""
        if not recipient.address:
            raise SendFailed("its secret is empty")
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                await self._send(recipient, message, now)
        except TimeoutError:
            raise SendFailed("the receiver did not respond in time") from None

    async def _send(self, recipient: Recipient, message: QueuedMessage, now: float) -> None:
        link = self._settings.link
        match recipient.kind:
            case RecipientKind.SLACK:
                await self._post(recipient.address, payloads.slack(message, link), [], now)
            case RecipientKind.PAGERDUTY:
                for event in payloads.pagerduty(message, recipient.key, link):
                    await self._post(recipient.address, event, [], now)
            case RecipientKind.WEBHOOK:
                content = payloads.webhook(message, link)
                fields = payloads.signed(message, content, recipient.key, now)
                await self._post(recipient.address, content, fields, now)
            case RecipientKind.EMAIL:
                await self._in_thread(partial(self._mail, recipient.address, message))
            case RecipientKind.APPRISE:
                await self._in_thread(partial(_by_apprise, recipient.address, message, link))

    async def _post(self, url: str, content: bytes, fields: Headers, now: float) -> None:
        """Redirects are not followed: the configuration alone names the hosts that are called."""
        base, mark, query = url.partition("?")
        call = Call("POST", (mark + query).encode(), [(b"content-type", payloads.JSON), *fields], _body(content))
        call.length = len(content)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                response = await self._client.send(Target(base), call, _TIMEOUT)
                try:
                    await read_up_to(response.body, MAX_RESPONSE_BYTES)
                finally:
                    await response.aclose()
        except GatewayError as error:
            reason = error.reason if isinstance(error, CallFailed) else error.code
            raise SendFailed(f"the receiver cannot be reached: {reason}") from None
        if not 200 <= response.status < 300:
            raise SendFailed(
                f"the receiver responded with status {response.status}",
                is_final=response.status in REFUSALS,
                retry_after=min(MAX_RETRY_AFTER_SECONDS, announced_wait(response.headers, now) or 0.0),
            )

    async def _in_thread(self, work: "partial[None]") -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _mail(self, address: str, message: QueuedMessage) -> None:
        server = self._settings.smtp
        if server is None:
            raise SendFailed("SMTP_URL is not set")
        connection = _backend(server)
        mail = EmailMessage(
            f"[{payloads.SOURCE}] {payloads.title(message.changes)}",
            payloads.text(message, self._settings.link),
            self._settings.sender,
            [address],
            headers={
                "Message-ID": f"<{message.id}@{self._settings.sender.rpartition('@')[2]}>",
                "Date": formatdate(message.created_at),
                "Auto-Submitted": "auto-generated",
            },
            connection=connection,
        )
        try:
            mail.send()
        except smtplib.SMTPAuthenticationError:
            raise SendFailed("the mail server does not accept the user or the password") from None
        except smtplib.SMTPRecipientsRefused as error:
            code = max((code for code, _ in error.recipients.values()), default=0)
            raise SendFailed(f"the mail server refuses the recipient: {code}", is_final=code >= 500) from None
        except smtplib.SMTPResponseException as error:
            is_sender = isinstance(error, smtplib.SMTPSenderRefused)
            reason = f"the mail server {'refuses ALERT_FROM:' if is_sender else 'responded with'} {error.smtp_code}"
            raise SendFailed(reason, is_final=error.smtp_code >= 500) from None
        except (OSError, smtplib.SMTPException) as error:
            raise SendFailed(f"the mail server cannot be used: {_mail_fault(error)}") from None
        finally:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.close()  # Django leaves it open if it cannot be encrypted


def _mail_fault(error: OSError) -> str:
    """Without what the server has sent: the texts of these errors are smtplib's own."""
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "it closed the connection, or did not respond in time"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        is_plain = "STARTTLS" in str(error)
        return (
            "it offers no STARTTLS, which SMTP_URL requires unless it ends with ?starttls=off"
            if is_plain
            else str(error)
        )
    if isinstance(error, smtplib.SMTPException):
        return type(error).__name__
    return CONNECT_TIMEOUT if isinstance(error, TimeoutError) else failure_reason(error)


def _backend(server: SmtpServer) -> EmailBackend:
    return EmailBackend(
        host=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.starttls and not server.is_tls,
        use_ssl=server.is_tls,
        timeout=int(LIMIT_SECONDS),
    )


def _by_apprise(address: str, message: QueuedMessage, link: str) -> None:
    """Apprise reports only success or failure: no status, and no time to wait."""
    if find_spec("apprise") is None:
        raise SendFailed("Apprise is not installed: pip install -r requirements-apprise.txt")
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - an optional dependency, which takes long to import

    services = Apprise(asset=AppriseAsset(app_id=payloads.SOURCE, storage_mode="memory"))
    if not services.add(address):
        raise SendFailed("Apprise does not know this address")
    if not services.notify(body=payloads.text(message, link), title=payloads.title(message.changes)):
        raise SendFailed("the service that Apprise has called did not accept the message")


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content
