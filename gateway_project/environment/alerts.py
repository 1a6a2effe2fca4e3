"""SMTP_URL, ALERT_FROM and ALERT_URL: how mails about alerts are sent, and where staff's pages are."""

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway_project.environment.values import Get
from metrics.alerts.settings import AlertSettings, SmtpServer

_PORTS: Final = {"smtp": 587, "smtps": 465}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def read(get: Get) -> AlertSettings:
    return AlertSettings(
        smtp=get("SMTP_URL", None, _server),
        sender=get("ALERT_FROM", "", _address),
        link=get("ALERT_URL", "", _link),
    )


def faults(settings: AlertSettings) -> list[str]:
    """What is missing or contradictory among the variables."""
    if settings.smtp is not None and not settings.sender:
        return ["SMTP_URL: requires ALERT_FROM, the address that mails are from"]
    return []


def _server(text: str) -> SmtpServer:
    """Error messages contain nothing of it, since it may have a password."""
    try:
        parts = urlsplit(text)
        port, options = parts.port, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("must be smtp://USER:PASSWORD@HOST:PORT or smtps://...") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise ValueError("must be smtp://USER:PASSWORD@HOST:PORT or smtps://...")
    if set(options) - {"starttls"} or options.get("starttls", "on") not in ("on", "off"):
        raise ValueError("has one option, starttls=off")
    starttls = options.get("starttls", "on") == "on"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not starttls and parts.scheme == "smtp" and user and parts.hostname not in _LOOPBACK:
        raise ValueError("starttls=off is not for servers with a password: it would not be encrypted")
    return SmtpServer(
        parts.hostname, port or _PORTS[parts.scheme], user, password, is_tls=parts.scheme == "smtps", starttls=starttls
    )


def _address(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or not text.isascii() or not text.isprintable() or " " in text or "<" in text:
        raise ValueError("must be an email address, such as gateway@example.com")
    return text


def _link(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be the address of staff's pages, such as https://gateway.example.com")
    return text.rstrip("/")
