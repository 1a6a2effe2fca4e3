"""An identity provider whose tokens are accepted: its settings, and names that follow from them."""

import re
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

MAX_LEEWAY: Final = 600.0
"""The longest leeway, in seconds."""
MAX_ISSUER_LENGTH: Final = 200
_VISIBLE: Final = re.compile(r"[!-~]+")
_LOOPBACK: Final = re.compile(r"localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1")


class Algorithm(StrEnum):
    """Signatures with public keys. There are no others: `none` and those with shared secrets are never accepted."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"
    PS256 = "PS256"


_ALGORITHMS: Final = frozenset(Algorithm)


def algorithm_of(name: object) -> Algorithm | None:
    """The algorithm that a token or a key calls so; None if it is not supported. RFC 9864 replaces EdDSA by Ed25519."""
    if name == "Ed25519":
        return Algorithm.EDDSA
    return Algorithm(name) if isinstance(name, str) and name in _ALGORITHMS else None


class ClaimNames(msgspec.Struct, frozen=True, kw_only=True):
    """Where a token has what is known of its caller: the name of a claim, or a path of names joined by dots."""

    id: str = "sub"
    audience: str = "aud"
    tenant: str = "org_id"
    scopes: tuple[str, ...] = ("scope", "scp", "permissions", "realm_access.roles")
    email: str = "email"


class Introspection(msgspec.Struct, frozen=True, kw_only=True):
    """Where tokens that are not JWTs are verified (RFC 7662). `prefix` begins those of this issuer."""

    url: str
    client_id: str
    client_secret: str = ""
    prefix: str = ""

    def __repr__(self) -> str:
        return f"Introspection(url={self.url!r})"

    def __post_init__(self) -> None:
        check_url(self.url, "url")


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """`leeway` is seconds. `require` are claims and the values of which each must have one. `services` are those that
    its tokens may be used for; None leaves that to their scopes. `types` are the accepted values of the header `typ`;
    none accepts any but those of other purposes.

    One with `faults` accepts no token, and is otherwise incomplete.
    """

    issuer: str
    audience: tuple[str, ...] = ()
    jwks_uri: str | None = None
    algorithms: tuple[Algorithm, ...] = tuple(Algorithm)
    leeway: float = 60.0
    types: tuple[str, ...] = ()
    claims: ClaimNames = ClaimNames()
    require: tuple[tuple[str, tuple[str | bool | int | float, ...]], ...] = ()
    services: tuple[str, ...] | None = None
    introspection: Introspection | None = None
    enabled: bool = True
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.faults:
            return
        check_url(self.issuer, "issuer")
        if len(self.issuer) > MAX_ISSUER_LENGTH:
            raise ValueError(f"issuer must have at most {MAX_ISSUER_LENGTH} characters")
        if self.jwks_uri is not None:
            check_url(self.jwks_uri, "jwks_uri")
        if not 0 <= self.leeway <= MAX_LEEWAY:
            raise ValueError("leeway must be from 0 s to 10 min")

    @property
    def name(self) -> str:
        """The issuer in ids of callers."""
        return issuer_name(self.issuer)

    @property
    def urls(self) -> tuple[str, ...]:
        """All configured URLs that requests are sent to."""
        extra = (self.jwks_uri, self.introspection.url if self.introspection else None)
        return (self.issuer, *(url for url in extra if url is not None))

    @property
    def needs_debug(self) -> bool:
        """Whether it is reached without TLS, which only DEBUG allows."""
        return any(url.startswith("http://") for url in self.urls)


def issuer_name(issuer: str) -> str:
    """Without `https://`, and without colons and plus signs."""
    return quote(issuer.removeprefix("https://"), safe="/.-_~")


def other_slash(issuer: str) -> str:
    """The issuer without the slash at its end, or with one: the most frequent difference to what tokens have."""
    return issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"


def check_url(url: str, name: str) -> None:
    """Raise ValueError unless `url` is https, or http to a loopback address, and has neither user nor fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{name} is not a URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and _LOOPBACK.fullmatch(host)):
        raise ValueError(f"{name} must be an https URL (http only for a loopback address, and only with DEBUG)")
    if not host or port == 0 or parts.username is not None or parts.fragment or not _VISIBLE.fullmatch(url):
        raise ValueError(f"{name} must have a host, no user and no fragment, and be visible ASCII")
    if name == "issuer" and parts.query:
        raise ValueError("issuer must have no query")
