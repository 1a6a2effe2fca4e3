"""The endpoint of the issuer's signing keys: one bounded fetch, and what its response contains.

Also of an issuer's other documents, which are JSON.

Runs in a thread, since the HTTP client blocks. Every failure is a KeyFetchFailed.
"""

import time
from codecs import BOM_UTF8
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
import requests
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, ReadTimeoutError

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 3.0
"""The longest pause in the response. With CONNECT_SECONDS, it is less than FETCH_SECONDS."""
FETCH_SECONDS: Final = 5.0
"""The time limit of the whole fetch, checked once the response's header fields have arrived."""
MAX_BYTES: Final = 256 * 1024
"""The longest response; Google's has 6 kB."""
DEFAULT_SECONDS: Final = 300.0
"""How long keys are fresh if their response does not say it."""
MAX_SECONDS: Final = 24 * 3600.0
MIN_SECONDS: Final = 1.0
"""Also of a response that may not be cached, so that not every token causes a fetch."""
_CHUNK: Final = 16 * 1024

_decoder: Final = msgspec.json.Decoder(dict[str, object])


class KeyFetchFailed(Exception):
    """The endpoint did not respond with keys. Its text says why, without anything that the endpoint sent."""


class Cause(StrEnum):
    """What keys are fetched for."""

    REFRESH = "refresh"
    """They are stale or nearly so, or there are none."""
    UNKNOWN_ID = "unknown_id"
    """A token names a key that is not among them."""
    WRONG_SIGNATURE = "wrong_signature"
    """A token's signature is of none of them."""


class FetchedKeys(msgspec.Struct, frozen=True):
    """Keys by their ids: certificates as PEM, or those of a JWK Set as `jwks.parse` returns them.

    `expiries` are the times (Unix) until which they are used once they are no longer fresh; they are fresh for
    `seconds` after the request. `requested_at` is the time of a request that another worker made. `fault` says why
    these are not current, if they are the last known ones in place of a failed fetch. `asked_at`: when another worker
    last fetched for the same cause, if that was so lately that these are its result, or a later one.
    """

    certificates: dict[str, Any]
    expiries: dict[str, float]
    seconds: float
    requested_at: float | None = None
    fault: str = ""
    asked_at: float | None = None


class Fetched(NamedTuple):
    """A successful response."""

    body: bytes
    headers: Mapping[str, str]


def fetch(url: str) -> FetchedKeys:
    """The certificates at `url` now. Raises KeyFetchFailed."""
    return parse(*get(url))


def get(url: str, limit: int | None = None) -> Fetched:
    """The response at `url`, of at most `limit` bytes. Redirects are not followed. Raises KeyFetchFailed."""
    status, fetched = send("GET", url, limit=limit)
    if status != requests.codes.ok:
        raise KeyFetchFailed(f"status {status}")
    return fetched


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    limit: int | None = None,
    extra_seconds: float = 0.0,
) -> tuple[int, Fetched]:
    """The status and the response to one request, of at most `limit` bytes. Redirects are not followed.

    `extra_seconds` is added to the time limits of a fetch of keys. `headers` are sent as they are: what `.netrc` has
    for the host replaces none of them. Raises KeyFetchFailed.
    """
    started = time.monotonic()
    try:
        with (
            requests.Session() as session,
            session.request(
                method,
                url,
                data=form,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                auth=_as_it_is,
                timeout=(CONNECT_SECONDS, READ_SECONDS + extra_seconds),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            deadline = started + FETCH_SECONDS + extra_seconds
            return response.status_code, Fetched(_read(response, deadline, limit or MAX_BYTES), response.headers)
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


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response, deadline: float, limit: int) -> bytes:
    """The body, up to a size and a time: an endpoint that sends a byte now and then does not hold the thread.

    It is decoded, since some servers send gzip to everybody, and the size is that of the result. Without a byte order
    mark, which JSON may have (RFC 8259 section 8.1).
    """
    body = bytearray()
    while part := response.raw.read1(_CHUNK, decode_content=True):
        body += part
        if len(body) > limit:
            raise KeyFetchFailed("the response is too large")
        if time.monotonic() > deadline:
            raise KeyFetchFailed("timeout")
    return bytes(body).removeprefix(BOM_UTF8)


def _expiry(text: str) -> float | None:
    """When the certificate of an RSA key ends, in Unix time; None if it is not one."""
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        if not isinstance(certificate.public_key(), RSAPublicKey):
            return None
        return certificate.not_valid_after_utc.timestamp()
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
