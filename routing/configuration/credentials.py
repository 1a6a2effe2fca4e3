"""The section `credential`: an OAuth 2.0 client of a service at its backend. No Django, no I/O."""

import json
import re
from collections.abc import Iterator, Set
from typing import Any, Final

from resilience.cache.policy import Scope
from routing.configuration.faults import Faults
from routing.configuration.headers import OWN_HEADERS, reference, resolved
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    display,
    field_name,
    list_of,
    mapping,
    mapping_of,
    matching,
    one_of,
    scope,
)
from routing.http import HOP_BY_HOP
from routing.router.credential_policy import ClientAuth, CredentialPolicy, GrantType, Per
from routing.router.policy import Auth

SECRETS: Final = ("client_secret", "refresh_token", "private_key", "service_account")
"""Keys whose values are secrets, whatever they look like."""
MAPS: Final = ("authorize_params", "token_params")
OAUTH2: Final = (
    "grant",
    "token_url",
    "client_id",
    "client_secret",
    "scopes",
    "audience",
    "refresh_token",
    "service_account",
    "private_key",
    "key_id",
    "issuer",
    "subject",
    "auth",
    "header",
    "prefix",
    "authorize_url",
    "revoke_url",
    "authorize_params",
    "token_params",
    "token_object",
    "allow_http",
)
CREDENTIAL: Final = ("oauth2", "per", "shared_cache")
"""The keys of the section, in canonical order."""
GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,2048}")
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}|")
_MAX_PARAMS: Final = 32


def credential(secret: SecretLookup) -> ValueParser:
    """The section's settings without the level of `oauth2`, so that a route may replace one; None if it is off."""
    parse_oauth2 = mapping_of(_oauth2(secret))
    parsers: dict[str, ValueParser] = {"oauth2": parse_oauth2, "per": one_of(Per), "shared_cache": boolean}
    parse_section = mapping_of(parsers)

    def parse(value: object) -> dict[str, Any] | None:
        if value is False:
            return None
        settings = parse_section(value)
        return {**settings.pop("oauth2", {}), **settings}

    return parse


def _oauth2(secret: SecretLookup) -> dict[str, ValueParser]:
    text = matching(_TEXT, "a text without control characters")
    value = _secret(secret)
    parsers: dict[str, ValueParser] = {
        **dict.fromkeys(OAUTH2, text),
        "grant": one_of(GrantType),
        "client_id": _text(secret),
        "client_secret": value,
        "scopes": list_of(scope),
        "refresh_token": value,
        "service_account": _service_account(secret),
        "private_key": value,
        "auth": one_of(ClientAuth),
        "header": _header,
        "prefix": matching(_PREFIX, "an authentication scheme"),
        "authorize_params": _params(secret),
        "token_params": _params(secret),
        "allow_http": boolean,
    }
    return parsers


def _secret(secret: SecretLookup) -> ValueParser:
    """A secret. Error messages never contain it."""

    def parse(value: object) -> str:
        found = reference(value)
        if found is not None and found.scheme:
            raise ValueError("a reference stands alone here: env:NAME or file:/PATH")
        content, subject = resolved(value, secret)
        if found is None and not content:
            raise ValueError(f"{subject} is empty")
        return content

    return parse


def _text(secret: SecretLookup) -> ValueParser:
    """A text, or a reference to one outside of the configuration."""
    parse_secret = _secret(secret)

    def parse(value: object) -> str:
        content: str = parse_secret(value)
        if content and _TEXT.fullmatch(content) is None:
            raise ValueError("must be a text without control characters")
        return content

    return parse


def _params(secret: SecretLookup) -> ValueParser:
    """Parameters by name, of which a value may be a reference."""
    parse_text = _text(secret)

    def parse(value: object) -> tuple[tuple[str, str], ...]:
        faults, params = Faults(), []
        for name, item in mapping(value).items():
            with faults.at(name):
                params.append((str(matching(_TEXT, "a parameter's name")(name)), str(parse_text(item))))
        faults.raise_if_any()
        if len(params) > _MAX_PARAMS:
            raise ValueError(f"must have at most {_MAX_PARAMS} parameters")
        return tuple(sorted(params))

    return parse


def _header(value: object) -> str:
    name = field_name(value)
    key = name.encode()
    if key in HOP_BY_HOP or key in OWN_HEADERS or name.startswith("x-forwarded-") or name == "cookie":
        raise ValueError("this header is set by the gateway")
    return name


def _service_account(secret: SecretLookup) -> ValueParser:
    """The keys of a service account's JSON file, as Google issues it, that a token request needs."""
    parse_secret = _secret(secret)

    def parse(value: object) -> dict[str, str]:
        content = parse_secret(value) if isinstance(value, str) else json.dumps(mapping(value))
        if not content:
            return {}  # where references are not resolved
        try:
            account = json.loads(content)
        except (ValueError, RecursionError):
            raise ValueError("is not the JSON of a service account") from None
        if not isinstance(account, dict):
            raise ValueError("is not the JSON of a service account")
        fields = {"issuer": "client_email", "private_key": "private_key"}
        missing = [key for key in fields.values() if not isinstance(account.get(key), str) or not account[key]]
        if missing:
            raise ValueError(f"lacks {' and '.join(missing)}, which the JSON of a service account has")
        found = {name: str(account[key]) for name, key in fields.items()}
        optional = {"key_id": "private_key_id", "token_url": "token_uri"}
        return found | {name: account[key] for name, key in optional.items() if isinstance(account.get(key), str)}

    return parse


def build_credential(**settings: Any) -> CredentialPolicy:
    """The policy for parsed settings, a service's and a route's merged. Raises ValueError."""
    account = settings.pop("service_account", None)
    if account is not None:
        settings = {"token_url": GOOGLE_TOKEN_URL, **account, **settings}
    _check_required(settings, has_account=account is not None)
    return CredentialPolicy(**settings)


def _check_required(settings: dict[str, Any], *, has_account: bool) -> None:
    """Raise ValueError for settings that are missing, or that do not go together."""
    for name in ("grant", "token_url"):
        if name not in settings:
            raise ValueError(f"oauth2 needs {name}")
    grant, per = settings["grant"], settings.get("per", Per.SERVICE)
    rules = {
        GrantType.CLIENT_CREDENTIALS: _client_credentials,
        GrantType.REFRESH_TOKEN: _refresh_token,
        GrantType.JWT_BEARER: _jwt_bearer,
    }
    keys = settings.keys() | ({"issuer", "private_key"} if has_account else set())
    for is_wrong, message in rules[grant](keys, per):
        if is_wrong:
            raise ValueError(message)
    if grant is not GrantType.REFRESH_TOKEN and per is not Per.SERVICE and not _names(settings, per):
        raise ValueError(f"per: {per.value} needs {{{per.value}}} in token_url, audience or subject")


def _client_credentials(keys: Set[str], _per: Per) -> Iterator[tuple[bool, str]]:
    for name in ("client_id", "client_secret"):
        yield name not in keys, f"oauth2 with grant client_credentials needs {name}"
    yield "authorize_url" in keys, "authorize_url is for grant refresh_token"


def _refresh_token(keys: Set[str], per: Per) -> Iterator[tuple[bool, str]]:
    many, connected, configured = per is not Per.SERVICE, "authorize_url" in keys, "refresh_token" in keys
    yield "client_id" not in keys, "oauth2 with grant refresh_token needs client_id"
    yield not configured and not connected, "oauth2 with grant refresh_token needs refresh_token or authorize_url"
    yield many and not connected, f"oauth2 needs authorize_url, where each {per.value} connects an account"
    yield many and configured, f"refresh_token is for one account, and per: {per.value} for many"


def _jwt_bearer(keys: Set[str], _per: Per) -> Iterator[tuple[bool, str]]:
    yield "private_key" not in keys, "oauth2 with grant jwt_bearer needs service_account, or private_key and issuer"
    yield not {"issuer", "client_id"} & keys, "oauth2 with grant jwt_bearer needs issuer or client_id"
    yield "authorize_url" in keys, "authorize_url is for grant refresh_token"


def _names(settings: dict[str, Any], per: Per) -> bool:
    """Whether the token request differs between tenants or callers."""
    return any(f"{{{per.value}}}" in str(settings.get(name, "")) for name in ("token_url", "audience", "subject"))


def check_credential(fields: dict[str, Any], faults: Faults) -> None:
    """Contradictions between a policy's credential and its other settings, which are the fields of a RoutePolicy."""
    policy: CredentialPolicy | None = fields.get("credential")
    if policy is None:
        return
    path, name = ("credential",), policy.header.encode()
    if any(field == name for field, _ in fields.get("headers", ())):
        faults.add(path, f"the header {display(policy.header)} is set in headers too")
    if fields.get("forward_authorization") and policy.header == "authorization":
        faults.add(path, "the credential is sent in Authorization, so that forward_authorization must be off")
    if policy.per is Per.SERVICE:
        return
    if fields.get("auth") is Auth.NONE:
        faults.add(path, f"per: {policy.per.value} needs callers, which auth: none does not have")
    cache = fields.get("cache")
    found = Scope.USER if cache is None else cache.scope
    if (found is Scope.SHARED or (found is Scope.TENANT and policy.per is Per.CALLER)) and not policy.shared_cache:
        faults.add(
            path,
            f"each {policy.per.value} has another credential, but cache.scope {found.value} lets others receive "
            "the responses: narrow the scope, or set shared_cache: true",
        )
