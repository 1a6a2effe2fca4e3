"""The requests of the OAuth 2.0 flows: form fields and header fields for the token endpoint. No I/O."""

import secrets
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, urlencode, urlsplit, urlunsplit

from routing.http import Headers
from routing.router.credential_policy import ClientAuth, CredentialPolicy, GrantType

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS: Final = 300
"""The lifetime of a signed assertion; Google accepts up to an hour, Salesforce three to five minutes."""
CLOCK_SKEW_SECONDS: Final = 10


class Subject(NamedTuple):
    """Whose credential it is. `id` is opaque and stable: `service`, `tenant:ID` or `caller:ID`."""

    id: str
    tenant: str = ""
    caller: str = ""


class TokenRequest(NamedTuple):
    url: str
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        """Without any secret: error pages under DEBUG show it."""
        return f"TokenRequest({self.url!r})"


class PkceProof(NamedTuple):
    """A PKCE code verifier and its challenge (RFC 7636 section 4)."""

    verifier: str
    challenge: str

    def __repr__(self) -> str:
        return f"Proof(challenge={self.challenge!r})"


def new_proof() -> PkceProof:
    verifier = secrets.token_urlsafe(48)
    return PkceProof(verifier, urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode())


def token_request(
    policy: CredentialPolicy, subject: Subject, *, refresh_token: str = "", now: float = 0
) -> TokenRequest:
    """The request for an access token. Signs, for the JWT grant, which takes some milliseconds.

    Raises ValueError for a private key that cannot be used.
    """
    form: dict[str, str]
    match policy.grant:
        case GrantType.CLIENT_CREDENTIALS:
            form = {"grant_type": "client_credentials", **_scope(policy)}
            if policy.audience:
                form["audience"] = filled(policy.audience, subject)
        case GrantType.REFRESH_TOKEN:
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        case GrantType.JWT_BEARER:
            form = {"grant_type": JWT_BEARER, "assertion": assertion(policy, subject, now)}
    return _request(policy, subject, form)


def code_request(
    policy: CredentialPolicy, subject: Subject, code: str, verifier: str, redirect_uri: str
) -> TokenRequest:
    """The request that exchanges an authorization code (RFC 6749 section 4.1.3)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return _request(policy, subject, form)


def revocation_request(policy: CredentialPolicy, token: str) -> TokenRequest:
    """The request that revokes a refresh token (RFC 7009)."""
    form = {"token": token, "token_type_hint": "refresh_token"}
    return _request(policy, Subject("service"), form)._replace(url=policy.revoke_url)


def authorization_url(policy: CredentialPolicy, state: str, challenge: str, redirect_uri: str) -> str:
    """Where a browser is sent to grant access (RFC 6749 section 4.1.1). Configured parameters cannot replace ours."""
    own = {
        "response_type": "code",
        "client_id": policy.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    scope = {} if any(name == "scope" for name, _ in policy.authorize_params) else _scope(policy)
    added = urlencode({**scope, **dict(policy.authorize_params), **own})
    parts = urlsplit(policy.authorize_url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def assertion(policy: CredentialPolicy, subject: Subject, now: float) -> str:
    """The signed assertion of RFC 7523 section 3. Raises ValueError."""
    import jwt  # noqa: PLC0415 - with cryptography, it takes a tenth of a second that few gateways need
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    try:
        key = load_pem_private_key(policy.private_key.encode(), None)
    except (ValueError, TypeError) as error:
        raise ValueError("the private key is not an unencrypted PEM key") from error
    issued = int(now) - CLOCK_SKEW_SECONDS
    claims: dict[str, str | int] = {
        "iss": policy.issuer or policy.client_id,
        "aud": filled(policy.audience, subject) if policy.audience else _url(policy.token_url, subject),
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(16),
        **_scope(policy),
    }
    if policy.subject:
        claims["sub"] = filled(policy.subject, subject)
    headers = {"kid": policy.key_id} if policy.key_id else None
    try:
        algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "ES256"
        return jwt.encode(claims, key, algorithm, headers)  # type: ignore[arg-type] # keys of other kinds raise
    except Exception as error:  # PyJWT and cryptography raise many kinds for keys of other types
        raise ValueError("the private key must be RSA or EC P-256") from error


def filled(template: str, subject: Subject, *, encode: bool = False) -> str:
    """`template` with the subject's tenant and caller."""
    for name, value in (("{tenant}", subject.tenant), ("{caller}", subject.caller)):
        template = template.replace(name, quote(value, safe="") if encode else value)
    return template


def _url(template: str, subject: Subject) -> str:
    parts = urlsplit(template)
    path = filled(parts.path, subject, encode=True)
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError("the tenant cannot be a part of the token endpoint's path")
    return urlunsplit(parts._replace(path=path))


def _scope(policy: CredentialPolicy) -> dict[str, str]:
    return {"scope": " ".join(policy.scopes)} if policy.scopes else {}


def _request(policy: CredentialPolicy, subject: Subject, form: dict[str, str]) -> TokenRequest:
    headers: Headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"cache-control", b"no-store"),
    ]
    form = {**dict(policy.token_params), **form}
    if policy.client_id and policy.grant is not GrantType.JWT_BEARER:
        if policy.client_secret and policy.auth is ClientAuth.BASIC:
            pair = f"{quote_plus(policy.client_id)}:{quote_plus(policy.client_secret)}"  # RFC 6749 section 2.3.1
            headers.append((b"authorization", b"Basic " + b64encode(pair.encode())))
        else:
            form["client_id"] = policy.client_id
            if policy.client_secret:
                form["client_secret"] = policy.client_secret
    return TokenRequest(_url(policy.token_url, subject), headers, urlencode(form).encode())
