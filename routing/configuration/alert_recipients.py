"""Parses the recipients of alerts. Their secrets are references; error messages never contain one's value.

Its author decides which hosts are called: keys for some services may not write it.
"""

import re
from typing import Any, Final

from routing.alerts.policy import Recipient, RecipientKind
from routing.configuration.faults import ConfigurationError, Faults
from routing.configuration.headers import Reference, reference, resolve
from routing.configuration.http_urls import split_http_url
from routing.configuration.values import SecretLookup, ValueParser, display, parse_mapping, string
from routing.webhooks.verification import standard_secret

DEFAULT_KEY: Final = "env:GATEWAY_SECRET_ALERTS"
"""What signs messages to webhooks, unless they name another secret."""
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""The longest key of a webhook, as Standard Webhooks requires."""
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_KINDS: Final = ", ".join(f"{kind}:" for kind in RecipientKind)
_WHAT: Final = "env:GATEWAY_SECRET_NAME or file:/PATH"
OPTIONS: Final = {RecipientKind.WEBHOOK: "secret", RecipientKind.PAGERDUTY: "url"}
"""What the mapping of a recipient may have beside its address."""


def recipient(secret: SecretLookup) -> ValueParser:
    """`slack:env:NAME`, `email:ADDRESS`, `webhook:URL`, `pagerduty:env:NAME` or `apprise:env:NAME`; of a webhook with a
    secret of its own `{webhook: URL, secret: env:NAME}`, and of another Events API `{pagerduty: env:NAME, url: URL}`.
    """

    def parse(value: object) -> Recipient:
        kind, address, option = _parts(value)
        match kind:
            case RecipientKind.EMAIL:
                return Recipient(kind, f"{kind}:{_email(address)}", address)
            case RecipientKind.WEBHOOK:
                return _webhook(address, option or DEFAULT_KEY, secret)
            case RecipientKind.PAGERDUTY:
                return _pagerduty(address, option or PAGERDUTY_URL, secret)
            case _:
                found = _required(address)
                text = resolve_filled(found, secret)
                url = _secret_url(text, found) if kind is RecipientKind.SLACK else text
                return Recipient(kind, f"{kind}:{address}", url)

    return parse


def recipient_of_label(label: str, secret: SecretLookup) -> Recipient | None:
    """The recipient whose `label` this is; None if it cannot be parsed, or its secret is missing."""
    kind, _, address = label.partition(":")
    value: Any = label
    if kind in OPTIONS and address.endswith(")"):
        address, _, option = address[:-1].rpartition(" (")
        value = {kind: address, OPTIONS[RecipientKind(kind)]: option}
    try:
        found = recipient(secret)(value)
    except (ValueError, ConfigurationError):
        return None
    return found if isinstance(found, Recipient) and found.label == label else None


def canonical_recipient(value: Any) -> Any:
    """A recipient that has been parsed, without what is its default."""
    if not isinstance(value, dict):
        return value
    kind, address, option = _parts(value)
    name = OPTIONS[kind]
    if not option or option == {"secret": DEFAULT_KEY, "url": PAGERDUTY_URL}[name]:
        return f"{kind}:{address}"
    return {kind.value: address, name: option}


def _parts(value: object) -> tuple[RecipientKind, str, str]:
    """The kind, its address, and its option or an empty text. Raises ValueError and ConfigurationError."""
    if isinstance(value, dict):
        return _mapped(value)
    name, _, address = string(value).partition(":")
    kind = next((each for each in RecipientKind if each == name), None)
    if kind is None or not address:
        raise ValueError(f"must begin with one of {_KINDS}")
    return kind, address, ""


def _mapped(value: dict[str, Any]) -> tuple[RecipientKind, str, str]:
    kind = next((each for each in OPTIONS if each in value), None)
    if kind is None:
        raise ValueError("must be {webhook: URL, secret: env:NAME} or {pagerduty: env:NAME, url: URL}")
    faults = Faults()
    parsed = parse_mapping(value, {kind.value: string, OPTIONS[kind]: string}, faults)
    faults.raise_if_any()
    return kind, parsed[kind.value], parsed.get(OPTIONS[kind], "")


def _webhook(address: str, key: str, secret: SecretLookup) -> Recipient:
    found = reference(address)
    url = _url(address) if found is None else _secret_url(resolve_filled(found, secret), found)
    label = f"webhook:{address}" if key == DEFAULT_KEY else f"webhook:{address} ({key})"
    named = _required(key)
    text = resolve_filled(named, secret)
    return Recipient(RecipientKind.WEBHOOK, label, url, _key(text, named) if text else b"")


def _pagerduty(address: str, url: str, secret: SecretLookup) -> Recipient:
    key = resolve_filled(_required(address), secret)
    label = f"pagerduty:{address}" if url == PAGERDUTY_URL else f"pagerduty:{address} ({url})"
    return Recipient(RecipientKind.PAGERDUTY, label, _url(url), key.encode("utf-8", "surrogateescape"))


def resolve_filled(found: Reference, secret: SecretLookup) -> str:
    """The secret's value. Without a scheme before it, and stripped, since files end with a line break."""
    return resolve(found, secret).strip()


def _required(text: str) -> Reference:
    found = reference(text)
    if found is None or found.scheme:
        raise ValueError(f"the secret must be {_WHAT} alone, so that it is not stored in the database")
    return found


def _email(text: str) -> str:
    if len(text) > 254 or _EMAIL.fullmatch(text) is None:
        raise ValueError(f"{display(text)} is not an email address")
    return text


def _key(text: str, found: Reference) -> bytes:
    try:
        key = standard_secret(text)
    except ValueError:
        key = b""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"{found.source} must have whsec_ and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64")
    return key


def _secret_url(text: str, found: Reference) -> str:
    """A URL that is a secret: nothing of it is in the error. Empty where secrets are not known."""
    if not text:
        return text
    try:
        return _url(text)
    except ValueError:
        raise ValueError(f"the value of {found.source} must be an https URL") from None


def _url(text: str) -> str:
    parts = split_http_url(text)
    if parts is None:
        raise ValueError("must be an https URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be an https URL: http is for this machine alone")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must be a URL without a user and a fragment")
    return text
