"""A service's credential for its backend: an OAuth 2.0 grant, and whose it is."""

from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import msgspec

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
PLACEHOLDERS: Final = ("{tenant}", "{caller}")
"""What `token_url` (in its path), `audience` and `subject` may contain."""


class GrantType(StrEnum):
    CLIENT_CREDENTIALS = "client_credentials"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of a grant
    JWT_BEARER = "jwt_bearer"


class Per(StrEnum):
    """Whose credential a call is made with: the service's own, one of each tenant, or one of each caller."""

    SERVICE = "service"
    TENANT = "tenant"
    CALLER = "caller"


class ClientAuth(StrEnum):
    """How the client authenticates at the token endpoint (RFC 6749 section 2.3.1)."""

    BASIC = "basic"
    POST = "post"


class CredentialPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth 2.0 client, with secrets resolved, and the header field that carries its access tokens.

    `issuer`, `private_key` and `key_id` are of the JWT grant (RFC 7523), `subject` is the user it acts for.
    `authorize_url` lets callers connect an account of their own, whose refresh token is then stored. `token_object`
    names the member of the token response that contains the tokens, for endpoints that nest them. `shared_cache` allows
    callers with different credentials to share cached responses. `allow_http` permits plain HTTP beyond loopback.
    """

    grant: GrantType
    token_url: str
    per: Per = Per.SERVICE
    client_id: str = ""
    client_secret: str = ""
    scopes: tuple[str, ...] = ()
    audience: str = ""
    refresh_token: str = ""
    private_key: str = ""
    key_id: str = ""
    issuer: str = ""
    subject: str = ""
    auth: ClientAuth = ClientAuth.BASIC
    header: str = "authorization"
    prefix: str = "Bearer"
    authorize_url: str = ""
    revoke_url: str = ""
    authorize_params: tuple[tuple[str, str], ...] = ()
    token_params: tuple[tuple[str, str], ...] = ()
    token_object: str = ""
    allow_http: bool = False
    shared_cache: bool = False

    def __post_init__(self) -> None:
        for name in ("token_url", "authorize_url", "revoke_url"):
            url = getattr(self, name)
            if url or name == "token_url":
                check_url(name, url, allow_http=self.allow_http)
        if any(mark in self.authorize_url or mark in self.revoke_url for mark in PLACEHOLDERS):
            raise ValueError("authorize_url and revoke_url have no placeholders")

    def __repr__(self) -> str:
        """Without any secret: error pages under DEBUG show it."""
        return f"CredentialPolicy(grant={self.grant.value!r}, per={self.per.value!r}, token_url={self.token_url!r})"


def check_url(name: str, url: str, *, allow_http: bool) -> None:
    """Raise ValueError for an address that no secret should be sent to."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"{name} must be visible ASCII")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{name} must be https://host/path")
    parts.port  # noqa: B018 - raises ValueError when it is out of range
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{name} must have no user and no fragment")
    if "{" in parts.netloc or "{" in parts.query:
        raise ValueError(f"{name} may have placeholders in its path only")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_http:
        raise ValueError(f"{name} must be https, unless it is on loopback or allow_http is true")
