"""The endpoint of the issuer's signing keys: one bounded fetch, and what its response contains.

Runs in a thread, since the HTTP client blocks. Every failure is a KeyFetchFailed.
"""

import time
from collections.abc import Mapping
from typing import Final

import msgspec
import requests
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, ReadTimeoutError

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 3.0
"""Between two parts of the response. With CONNECT_SECONDS below FETCH_SECONDS."""
FETCH_SECONDS: Final = 5.0
"""For the whole fetch, once the response's header fields have come."""
MAX_BYTES: Final = 256 * 1024
"""Google's response has 6 kB."""
DEFAULT_SECONDS: Final = 300.0
"""How long keys are fresh whose response does not say it."""
MAX_SECONDS: Final = 24 * 3600.0
MIN_SECONDS: Final = 1.0
"""Also of a response that may not be cached, so that not every token causes a fetch."""
_CHUNK: Final = 16 * 1024

_decoder: Final = msgspec.json.Decoder(dict[str, object])


class KeyFetchFailed(Exception):
    """The endpoint did not respond with keys. Its text says why, without anything that the endpoint sent."""


class FetchedKeys(msgspec.Struct, frozen=True):
    """Certificates as PEM, by key id; `expiries` are their ends (Unix time); fresh for `seconds` after the request."""

    certificates: dict[str, str]
    expiries: dict[str, float]
    seconds: float


def fetch(url: str) -> FetchedKeys:
    """The keys at `url` now. Redirects are not followed. Raises KeyFetchFailed."""
    started = time.monotonic()
    try:
        with (
            requests.Session() as session,
            session.get(
                url,
                headers={"Accept-Encoding": "identity"},  # so that the bound holds for what is read
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            if response.status_code != requests.codes.ok:
                raise KeyFetchFailed(f"status {response.status_code}")
            body = _read(response, started + FETCH_SECONDS)
            return parse(body, response.headers)
    except (requests.Timeout, ReadTimeoutError):
        raise KeyFetchFailed("timeout") from None
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise KeyFetchFailed(type(error).__name__) from None


def parse(body: bytes, headers: Mapping[str, str]) -> FetchedKeys:
    """The keys of a response: a JSON object of X.509 certificates by key id. Raises KeyFetchFailed without any.

    A member that is not a certificate is left out.
    """
    try:
        members = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        raise KeyFetchFailed("not a JSON object") from None
    certificates, expiries = {}, {}
    for kid, text in members.items():
        expiry = _expiry(text) if isinstance(text, str) else None
        if expiry is not None:
            certificates[kid], expiries[kid] = str(text), expiry
    if not certificates:
        raise KeyFetchFailed("no certificate in the response")
    return FetchedKeys(certificates, expiries, freshness(headers))


def freshness(headers: Mapping[str, str]) -> float:
    """Seconds for which a response's keys are fresh: its max-age less its Age, within bounds (RFC 9111 section 4.2)."""
    fields = CaseInsensitiveDict(headers)
    seconds = DEFAULT_SECONDS
    for directive in fields.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in {"no-store", "no-cache"}:
            return MIN_SECONDS
        if name == "max-age":
            seconds = _seconds(value.strip('"'), 0.0) - _seconds(fields.get("age", ""), 0.0)
    return min(max(seconds, MIN_SECONDS), MAX_SECONDS)


def _seconds(text: str, default: float) -> float:
    text = text.strip()
    return float(text[:12]) if text.isascii() and text.isdigit() else default


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, up to a size and a time: an endpoint that sends a byte now and then does not hold the thread."""
    body = bytearray()
    while part := response.raw.read1(_CHUNK):
        body += part
        if len(body) > MAX_BYTES:
            raise KeyFetchFailed("the response is too large")
        if time.monotonic() > deadline:
            raise KeyFetchFailed("timeout")
    return bytes(body)


def _expiry(text: str) -> float | None:
    """When the certificate of an RSA key ends, in Unix time; None if it is not one."""
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        if not isinstance(certificate.public_key(), RSAPublicKey):
            return None
        return certificate.not_valid_after_utc.timestamp()
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        return None
