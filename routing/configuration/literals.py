"""Secrets that a configuration contains as they are: finds them, and masks them wherever it is shown.

Pure: no Django, no I/O. Documents may be invalid: a malformed section of headers is masked as a whole.
"""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from routing.configuration.credentials import MAPS, SECRETS
from routing.configuration.faults import ConfigurationError, Fault, Path
from routing.configuration.headers import MASK, reference
from routing.configuration.tls_section import FILES
from routing.tls.pem import has_key

_DIGEST_BYTES: Final = 8
_MASKED: Final = re.compile(rf"{MASK}[0-9a-f]{{{2 * _DIGEST_BYTES}}}")
_SECRET_WORDS: Final = frozenset(
    {"authorization", "authentication", "cookie", "token", "tokens", "secret", "secrets", "jwt", "bearer"}
    | {"password", "passwd", "passphrase", "passcode", "pwd", "pass", "credential", "credentials", "signature"}
    | {"apikey", "accesskey", "authkey", "secretkey", "privatekey", "session", "sessionid"}
)
"""Words of a field's name, between hyphens, that say that its value is a secret."""
_LAST_WORDS: Final = ("auth", "key", "sig", "sid", "pat", "pin")
"""The same for a name's last word only: `X-Api-Key`, but not `X-Key-Format`."""
_LAST_ENDINGS: Final = ("token", "secret", "password", "apikey", "authkey", "accesskey", "secretkey", "credential")
"""The same for names that are written as one word: `X-AccessToken`."""
_WHOLE: Final = frozenset({"headers", "oauth2", "introspection", *MAPS})
"""Sections that are masked as a whole if they are malformed."""
_NAME_WORDS: Final = re.compile(r"[-_.]+")
_SHAPES: Final = re.compile(
    r"""
      ^(?:bearer|basic|token|apikey|api-key|negotiate|ntlm|dpop|key|bot|splunk|sso-key|genie[a-z]*)\s+\S{3,}$
    | ^(?:digest|hawk|hmac|hmac-sha256|signature|oauth|aws4-hmac-sha256)\s+\S+=
    | \b(?:sk|rk|pk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{6,}   # OpenAI, Anthropic, Stripe
    | \bxox[a-z]-|\bxapp-                                                  # Slack
    | \b(?:gh[opusr]|github_pat)_|\bglpat-                                 # GitHub, GitLab
    | \bAIza[A-Za-z0-9_-]|\bya29\.|\b(?:AKIA|ASIA)[A-Z0-9]{12}             # Google, AWS
    | \beyJ[A-Za-z0-9_-]{5,}                                               # a JWT, or other encoded JSON
    | \b(?:hvs|hvb)\.|\bnpm_|\bpypi-|\bSG\.|\bdop_v1_|\bshp(?:at|ca|pa|ss)_|\blin_api_|\bfigd_|\bpplx-|\bhf_
    | \bgw_[a-z0-9]+_                                                      # this gateway's own keys
    | -----BEGIN
    | ://[^/\s:@]*:[^/\s@]+@                                               # the password of a URL
    | (?:key|token|secret|password|passwd|pwd|signature|sig)["']?\s*[=:]\s*\S
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What the value of a secret looks like, whatever its field's name."""
SECRET: Final = "secret"  # noqa: S105 - a key of the configuration
"""The setting of a webhook that has its secrets."""
TLS_KEY: Final = "key"
CLIENT_SECRET: Final = "client_secret"  # noqa: S105 - a key of the configuration
_RANDOM: Final = re.compile(r"[0-9a-fA-F]{32,}|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_=.~-]{32,}")
"""A long random value, in hexadecimal or base64."""

LITERAL: Final = (
    "a literal secret: use env:GATEWAY_SECRET_NAME or file:/run/secrets/NAME, so that it is not stored in the database"
)


class Field(NamedTuple):
    """A header field of a document, or the secret of a webhook, with the mapping or list that contains it.

    `owner` is the service's name, or that of a webhook after `webhooks/`. `key` is the value's in the holder.
    """

    owner: str
    path: Path
    holder: Any
    name: str
    value: Any
    key: str | int


class Masked(NamedTuple):
    """A document without its secrets, and these by what stands for each of them."""

    structure: Any
    secrets: dict[str, str]


def is_secret(name: str, value: object) -> bool:
    """Whether the literal value of the field `name` must be a secret, by the name or by the form of the value."""
    if value in (None, "") or reference(value) is not None or is_masked(value):
        return False
    return name in SECRETS or _is_secret_name(name) or _has_shape(_text(value))


def is_masked(value: object) -> bool:
    return isinstance(value, str) and _MASKED.fullmatch(value) is not None


def literal_secrets(structure: Any) -> list[Fault]:
    """A fault for each secret that the document contains as it is."""
    return [Fault(field.path, LITERAL) for field in fields(structure) if is_secret(field.name, field.value)]


def has_masks(structure: Any) -> bool:
    return any(is_masked(field.value) for field in fields(structure))


def fields(structure: Any) -> Iterator[Field]:
    """All header fields and credentials of services and routes, and the secrets of webhooks, in document order."""
    services = structure.get("services") if isinstance(structure, dict) else None
    for name, service in services.items() if isinstance(services, dict) else ():
        yield from service_fields(str(name), service, ("services", str(name)))
    webhooks = structure.get("webhooks") if isinstance(structure, dict) else None
    for name, webhook in webhooks.items() if isinstance(webhooks, dict) else ():
        yield from webhook_fields(str(name), webhook, ("webhooks", str(name)))
    yield from _issuer_fields(structure)


def _issuer_fields(structure: Any) -> Iterator[Field]:
    """The secrets of clients at issuers' introspection endpoints."""
    issuers = structure.get("issuers") if isinstance(structure, dict) else None
    for index, issuer in enumerate(issuers if isinstance(issuers, list | tuple) else ()):
        section = issuer.get("introspection") if isinstance(issuer, dict) else None
        name, path = f"issuers/{issuer.get('issuer')}" if isinstance(issuer, dict) else "", ("issuers", index)
        if isinstance(section, dict) and section.get(CLIENT_SECRET):
            inner: Path = (*path, "introspection", CLIENT_SECRET)
            yield Field(name, inner, section, CLIENT_SECRET, section[CLIENT_SECRET], CLIENT_SECRET)
        elif section and not isinstance(section, dict):
            yield Field(name, (*path, "introspection"), issuer, "introspection", section, "introspection")


def webhook_fields(name: str, webhook: Any, path: Path = ()) -> Iterator[Field]:
    """The secrets of one webhook. `path` is the webhook's."""
    found = webhook.get(SECRET) if isinstance(webhook, dict) else None
    owner = f"webhooks/{name}"
    if isinstance(found, list):
        for index, value in enumerate(list(found)):
            yield Field(owner, (*path, SECRET, index), found, SECRET, value, index)
    elif found:
        yield Field(owner, (*path, SECRET), webhook, SECRET, found, SECRET)


def service_fields(name: str, service: Any, path: Path = ()) -> Iterator[Field]:
    """The same of one service and its routes. `path` is the service's."""
    if not isinstance(service, dict):
        return
    yield from _headers(name, service, path)
    yield from _credential(name, service, path)
    yield from _tls(name, service, path)
    targets = service.get("targets")
    for index, target in enumerate(targets if isinstance(targets, list | tuple) else ()):
        if isinstance(target, dict):
            yield from _tls(name, target, (*path, "targets", index))
    routes = service.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        if isinstance(route, dict):
            yield from _headers(name, route, (*path, "routes", index))
            yield from _credential(name, route, (*path, "routes", index))


def _headers(service: str, settings: dict[str, Any], path: Path) -> Iterator[Field]:
    found = settings.get("headers")
    if isinstance(found, dict):
        for name, value in list(found.items()):
            yield Field(service, (*path, "headers", str(name)), found, name, value, name)
    elif found:
        yield Field(service, (*path, "headers"), settings, "headers", found, "headers")


def _credential(service: str, settings: dict[str, Any], path: Path) -> Iterator[Field]:
    """Keys that have secrets, and parameters that may. A malformed section is one field."""
    section = settings.get("credential")
    if not isinstance(section, dict):
        if section and section is not True:
            yield Field(service, (*path, "credential"), settings, "credential", section, "credential")
        return
    oauth2, inner = section.get("oauth2"), (*path, "credential", "oauth2")
    if isinstance(oauth2, dict):
        for name in SECRETS:
            if name in oauth2:
                yield Field(service, (*inner, name), oauth2, name, oauth2[name], name)
        for name in MAPS:
            yield from _parameters(service, oauth2, name, (*inner, name))
    elif oauth2:
        yield Field(service, inner, section, "oauth2", oauth2, "oauth2")


def _tls(service: str, settings: dict[str, Any], path: Path) -> Iterator[Field]:
    """References to files, and what may be a private key. Certificates in PEM are public."""
    section = settings.get("tls")
    if not isinstance(section, dict):
        if isinstance(section, str):
            yield Field(service, (*path, "tls"), settings, TLS_KEY, section, "tls")
        return
    for name in FILES:
        value = section.get(name)
        if value and (name == TLS_KEY or reference(value) is not None or has_key(_text(value))):
            yield Field(service, (*path, "tls", name), section, TLS_KEY, value, name)


def _parameters(service: str, oauth2: dict[str, Any], key: str, path: Path) -> Iterator[Field]:
    params = oauth2.get(key)
    if isinstance(params, dict):
        for name, value in list(params.items()):
            yield Field(service, (*path, str(name)), params, name, value, name)
    elif params:
        yield Field(service, path, oauth2, key, params, key)


def mask(structure: Any, key: bytes) -> Masked:
    """The document with `masked:DIGEST` in place of each literal secret.

    The digest depends on the secret, on its service and on the field's name, so that a change is visible and a mask
    cannot be moved to another service. It is keyed with `key`, at most 64 bytes, so that nobody without the key can
    test a guess.
    """
    copy, secrets = _copy(structure), dict[str, str]()
    for field in list(fields(copy)):
        value = field.value
        is_malformed = field.name in _WHOLE and field.path[-1] == field.name and value and not is_masked(value)
        if is_secret(field.name, value) or is_malformed:
            placeholder = _mask_of(field.owner, field.name, value, key)
            secrets[placeholder] = _text(value)
            field.holder[field.key] = placeholder
    return Masked(copy, secrets)


def _mask_of(service: str, name: str, value: object, key: bytes) -> str:
    """The mask of a field's value."""
    parts = [service, name.lower(), _text(value)]
    digest = blake2b(json.dumps(parts).encode(), digest_size=_DIGEST_BYTES, key=key)
    return f"{MASK}{digest.hexdigest()}"


def unmask(structure: Any, known: Mapping[str, str]) -> Any:
    """The document with the secrets that masks stand for. Raises ConfigurationError if `known` lacks one."""
    copy, faults = _copy(structure), []
    for field in list(fields(copy)):
        if not is_masked(field.value):
            continue
        if field.value in known:
            field.holder[field.key] = known[field.value]
        else:
            message = f"the value that {field.value} stands for is not stored here, or was changed since"
            faults.append(Fault(field.path, message))
    if faults:
        raise ConfigurationError(faults)
    return copy


def _is_secret_name(name: str) -> bool:
    words = _NAME_WORDS.split(name.lower())
    last = words[-1]
    return not _SECRET_WORDS.isdisjoint(words) or last in _LAST_WORDS or last.endswith(_LAST_ENDINGS)


def _has_shape(text: str) -> bool:
    return _SHAPES.search(text) is not None or _RANDOM.fullmatch(text) is not None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def _copy(structure: Any) -> Any:
    """A copy of the mappings and lists, which may then be changed."""
    if isinstance(structure, dict):
        return {key: _copy(value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return [_copy(value) for value in structure]
    return structure
