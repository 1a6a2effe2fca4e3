"""What receivers get: Slack, PagerDuty, a Standard Webhook, a mail and a service of Apprise; and how they fail."""

import json
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from metrics.alerts import payloads
from metrics.alerts.certificates import TargetCertificates
from metrics.alerts.change import ChangeKind, ConditionChange
from metrics.alerts.messages import QueuedMessage
from metrics.alerts.sending import Sender, SendFailed
from metrics.alerts.settings import AlertSettings, SmtpServer
from routing.alerts.policy import Recipient, RecipientKind
from routing.backend.client import Backend
from routing.router.policy import Target
from routing.router.table import Service
from tests.clock import FakeClock
from tests.internal_ca import NAME, InternalCa, tls_server
from tests.metrics.alerts.mail_server import MailServer
from tests.origin import Peer, ScriptedOrigin

KEY = b"0123456789abcdef01234567"
NOW = 1_700_000_000.0
LINK = "https://gateway.example.com"


LATER = (
    b"HTTP/1.1 503 X\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\n"
    b"Retry-After: Mon, 30 Nov 2026 12:01:30 GMT\r\nContent-Length: 0\r\n\r\n"
)
"""A date is compared with the response's own."""


def change(
    kind: ChangeKind = ChangeKind.FIRING, service: str = "crm", summary: str = "the circuit is open"
) -> ConditionChange:
    return ConditionChange(
        reason="alert_removed" if kind is ChangeKind.RESOLVED else "",
        kind=kind,
        key=f"key-{service}",
        alert="down",
        condition="circuit.open",
        subject=service,
        service=service,
        summary=summary,
        is_critical=True,
        since=NOW - 60,
        at=NOW,
    )


def message(*changes: ConditionChange) -> QueuedMessage:
    return QueuedMessage("5f3a", "slack:env:GATEWAY_SECRET_SLACK", changes or (change(),), NOW, 0)


class Receiver:
    """Keeps what it gets, and gives these answers."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[dict[bytes, bytes], bytes]] = []

    async def __call__(self, peer: Peer) -> None:
        body = await peer.read_body()
        self.requests.append((dict(peer.request.fields), body))
        await peer.send(self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n")

    @property
    def documents(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    client = Backend()
    yield client
    await client.close()


def sender(backend: Backend, smtp: SmtpServer | None = None) -> Sender:
    return Sender(backend, AlertSettings(smtp, "gateway@example.com", LINK), ThreadPoolExecutor(1))


async def test_slack_gets_one_text_whose_control_characters_are_escaped(backend: Backend) -> None:
    receiver = Receiver()
    hostile = change(summary="the circuit is open: <!channel> & <https://evil.example|click>\nfake")
    async with ScriptedOrigin(receiver) as origin:
        recipient = Recipient(RecipientKind.SLACK, "slack:env:X", f"{origin.url}/services/T0/B0?x=1")
        await sender(backend).send(recipient, message(hostile, change(ChangeKind.RESOLVED, "billing")), NOW)
    [document] = receiver.documents
    assert document["text"].splitlines()[0] == "1 firing, 1 resolved: billing, crm"
    assert document["text"].splitlines()[2].endswith("): the alert was removed from the configuration")
    assert "&lt;!channel&gt; &amp; &lt;https" in document["text"]
    assert len(document["text"].splitlines()) == 4
    assert document["text"].endswith("/dashboard/alerts/")
    assert "<" not in document["text"]


async def test_a_webhook_verifies_with_the_library_of_the_standard(backend: Backend) -> None:
    receiver = Receiver()
    async with ScriptedOrigin(receiver, receiver) as origin:
        recipient = Recipient(RecipientKind.WEBHOOK, "webhook:x", origin.url, KEY)
        found = message(change(), change(ChangeKind.RESOLVED))
        await sender(backend).send(recipient, found, time.time())
        await sender(backend).send(recipient, found, time.time())
    (fields, body), (again, _) = receiver.requests
    headers = {name.decode().lower(): value.decode() for name, value in fields.items()}
    document: Any = Webhook(b64encode(KEY).decode()).verify(body, headers)
    assert document["type"] == "gateway.alerts"
    firing, over = document["data"]["changes"]
    assert (firing["status"], firing["service"], firing["severity"]) == ("firing", "crm", "critical")
    assert [firing["reason"], over["reason"]] == [None, "alert_removed"]
    assert headers["webhook-id"] == {name.lower(): value for name, value in again.items()}[b"webhook-id"].decode()


async def test_pagerduty_resolves_what_it_has_triggered(backend: Backend) -> None:
    receiver = Receiver()
    async with ScriptedOrigin(*[receiver] * 4) as origin:
        recipient = Recipient(RecipientKind.PAGERDUTY, "pagerduty:env:X", origin.url, b"r0uting")
        await sender(backend).send(recipient, message(change(), change(ChangeKind.RESOLVED)), NOW)
        await sender(backend).send(recipient, message(change(ChangeKind.TEST)), NOW)
    events = receiver.documents
    assert [event["event_action"] for event in events] == ["trigger", "resolve", "trigger", "resolve"]
    assert {event["dedup_key"] for event in events} == {"key-crm"}
    assert {event["routing_key"] for event in events} == {"r0uting"}
    assert [event["payload"]["severity"] for event in events] == ["critical", "critical", "info", "info"]


@pytest.mark.parametrize(
    ("answer", "reason", "is_final", "retry_after"),
    [
        (b"HTTP/1.1 503 X\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n", "status 503", False, 17),
        (b"HTTP/1.1 429 X\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n", "status 429", False, 3_600),
        (LATER, "status 503", False, 90),
        (b"HTTP/1.1 429 X\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", "status 429", False, 0),
        (b"HTTP/1.1 403 X\r\nContent-Length: 13\r\n\r\ninvalid_token", "status 403", False, 0),
        (b"HTTP/1.1 410 X\r\nContent-Length: 0\r\n\r\n", "status 410", True, 0),
        (b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "status 302", False, 0),
        (b"garbage\r\n\r\n", "cannot be reached", False, 0),
    ],
)
async def test_failures_are_told_apart(
    backend: Backend, answer: bytes, reason: str, is_final: bool, retry_after: float
) -> None:
    receiver = Receiver(answer)
    async with ScriptedOrigin(receiver) as origin:
        recipient = Recipient(RecipientKind.SLACK, "slack:env:X", f"{origin.url}/T0/s3cret")
        with pytest.raises(SendFailed, match=reason) as caught:
            await sender(backend).send(recipient, message(), NOW)
    assert (caught.value.is_final, caught.value.retry_after) == (is_final, retry_after)
    assert "s3cret" not in str(caught.value)
    assert len(receiver.requests) == 1


async def test_an_empty_secret_and_a_closed_port(backend: Backend) -> None:
    with pytest.raises(SendFailed, match="its secret is empty"):
        await sender(backend).send(Recipient(RecipientKind.SLACK, "slack:env:X", ""), message(), NOW)
    with pytest.raises(SendFailed, match="cannot be reached"):
        await sender(backend).send(Recipient(RecipientKind.SLACK, "slack:env:X", "http://127.0.0.1:9/"), message(), NOW)


async def test_a_mail(backend: Backend) -> None:
    recipient = Recipient(RecipientKind.EMAIL, "email:oncall@example.com", "oncall@example.com")
    with MailServer() as server:
        smtp = SmtpServer("127.0.0.1", server.port, starttls=False)
        await sender(backend, smtp).send(recipient, message(change(service="crm", summary="größer\nX-Evil: 1")), NOW)
        [mail] = server.mails
        assert (mail["From"], mail["To"]) == ("gateway@example.com", "oncall@example.com")
        assert mail["Subject"] == "[Intelligence Gateway] 1 firing: crm"
        assert mail["Message-ID"] == "<5f3a@example.com>"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["X-Evil"] is None
        assert "FIRING: crm: größer X-Evil: 1" in mail.get_content()
        server.answer = b"450 4.2.0 later"
        with pytest.raises(SendFailed, match="450") as caught:
            await sender(backend, smtp).send(recipient, message(), NOW)
        assert not caught.value.is_final
        server.answer = b"550 5.1.1 nobody"
        with pytest.raises(SendFailed, match="550") as caught:
            await sender(backend, smtp).send(recipient, message(), NOW)
        assert caught.value.is_final
        with pytest.raises(SendFailed, match="it offers no STARTTLS"):  # it has no TLS, and is told nothing without it
            await sender(backend, SmtpServer("127.0.0.1", server.port)).send(recipient, message(), NOW)
        with pytest.raises(SendFailed, match="cannot be used: TLS error"):
            await sender(backend, SmtpServer("127.0.0.1", server.port, is_tls=True)).send(recipient, message(), NOW)
        assert len(server.mails) == 1
    with pytest.raises(SendFailed, match="cannot be used: connection refused"):
        await sender(backend, smtp).send(recipient, message(), NOW)
    with pytest.raises(SendFailed, match="SMTP_URL is not set"):
        await sender(backend).send(recipient, message(), NOW)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of modules that Apprise imports
async def test_a_service_of_apprise(backend: Backend) -> None:
    receiver = Receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
    async with ScriptedOrigin(receiver, receiver) as origin:
        address = origin.url.replace("http://", "json://")
        recipient = Recipient(RecipientKind.APPRISE, "apprise:env:X", address)
        await sender(backend).send(recipient, message(), NOW)
        assert receiver.documents[0]["title"] == "1 firing: crm"
        with pytest.raises(SendFailed, match="did not accept"):
            await sender(backend).send(recipient, message(), NOW)
    with pytest.raises(SendFailed, match="does not know"):
        await sender(backend).send(Recipient(RecipientKind.APPRISE, "apprise:env:X", "nonsense"), message(), NOW)


def test_a_title_names_a_few_services() -> None:
    assert payloads.title([change(service=name) for name in "edcba"]) == "5 firing: a, b, c and 2 more"


async def test_certificates_of_targets_are_looked_at(tmp_path: Path) -> None:
    clock = FakeClock()

    async def quiet(peer: Peer) -> None:
        peer.close()

    async with ScriptedOrigin(quiet, tls=serving(tmp_path)) as origin:
        service = Service("crm", (origin.target, Target("https://127.0.0.1:9"), Target("http://a")))
        certificates = TargetCertificates((), clock)
        assert certificates.current([service]) == ()
        await certificates._tasks.wait()
        [found] = certificates.current([service])
        await certificates.close()
    assert (found.name, found.service) == (origin.target.url.removeprefix("https://"), "crm")
    assert 1.9 < (found.ends - time.time()) / 86_400 < 2.1


async def test_certificates_are_looked_at_as_the_gateway_calls_targets() -> None:
    ca = InternalCa()
    tls = ca.identity(server_name=NAME)
    with tls_server(ca.server(NAME), clients=ca.pem, version=ssl.TLSVersion.TLSv1_2) as server:
        service = Service("crm", (Target(server.url, tls=tls),), tls=tls)
        certificates = TargetCertificates((), FakeClock())
        certificates.current([service])
        await certificates._tasks.wait()
        found = certificates.current([service])
        await certificates.close()
    assert [each.name for each in found] == ["crm.tls.certificate", "crm.tls.ca", f"127.0.0.1:{server.port}"]
    assert {each.service for each in found} == {"crm"}
    assert server.names == [NAME]


def serving(folder: Path) -> ssl.SSLContext:
    """With a certificate that nobody trusts, for two days."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", "-x509", *made, "-subj", "/CN=other.example", "-days", "2", "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
