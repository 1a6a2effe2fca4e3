"""Secrets that a configuration contains as they are: finds them, and masks them wherever it is shown.

Pure: no Django, no I/O. Documents may be invalid; what has no form of headers is masked as a whole.
"""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from routing.configuration.faults import ConfigurationError, Fault, Path
from routing.configuration.headers import MASK, reference

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
_RANDOM: Final = re.compile(r"[0-9a-fA-F]{32,}|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_=.~-]{32,}")
"""A long random value, in hexadecimal or base64."""

LITERAL: Final = (
    "a literal secret: use env:GATEWAY_SECRET_NAME or file:/run/secrets/NAME, so that it is not stored in the database"
)


class Field(NamedTuple):
    """A header field of a document, with the mapping that contains it. `service` is the service's name."""

    service: str
    path: Path
    holder: dict[str, Any]
    name: str
    value: Any


class Masked(NamedTuple):
    """A document without its secrets, and these by what stands for each of them."""

    structure: Any
    secrets: dict[str, str]


def is_secret(name: str, value: object) -> bool:
    """Whether the literal value of the field `name` must be a secret, by the name or by the form of the value."""
    if value in (None, "") or reference(value) is not None or is_masked(value):
        return False
    return _is_secret_name(name) or _has_shape(_text(value))


def is_masked(value: object) -> bool:
    return isinstance(value, str) and _MASKED.fullmatch(value) is not None


def literal_secrets(structure: Any) -> list[Fault]:
    """A fault for each secret that the document contains as it is."""
    return [Fault(field.path, LITERAL) for field in fields(structure) if is_secret(field.name, field.value)]


def has_masks(structure: Any) -> bool:
    return any(is_masked(field.value) for field in fields(structure))


def fields(structure: Any) -> Iterator[Field]:
    """All header fields of services and routes, in document order."""
    services = structure.get("services") if isinstance(structure, dict) else None
    for name, service in services.items() if isinstance(services, dict) else ():
        yield from service_fields(str(name), service, ("services", str(name)))


def service_fields(name: str, service: Any, path: Path = ()) -> Iterator[Field]:
    """The header fields of one service and its routes. `path` is the service's."""
    if not isinstance(service, dict):
        return
    yield from _headers(name, service, path)
    routes = service.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        if isinstance(route, dict):
            yield from _headers(name, route, (*path, "routes", index))


def _headers(service: str, settings: dict[str, Any], path: Path) -> Iterator[Field]:
    found = settings.get("headers")
    if isinstance(found, dict):
        for name, value in list(found.items()):
            yield Field(service, (*path, "headers", str(name)), found, name, value)
    elif found:
        yield Field(service, (*path, "headers"), settings, "headers", found)


def mask(structure: Any, key: bytes) -> Masked:
    """The document with `masked:DIGEST` in place of each literal secret.

    The digest depends on the secret, on its service and on the field's name, so that a change is visible and a mask
    cannot be moved to another service. It is made with `key`, at most 64 bytes, without which nobody can guess.
    """
    copy, secrets = _copy(structure), dict[str, str]()
    for field in list(fields(copy)):
        value = field.value
        if is_secret(field.name, value) or (field.name == "headers" and field.holder.get("headers") is value):
            placeholder = _mask_of(field.service, field.name, value, key)
            secrets[placeholder] = _text(value)
            field.holder[field.name] = placeholder
    return Masked(copy, secrets)


def _mask_of(service: str, name: str, value: object, key: bytes) -> str:
    """What stands for a field's value."""
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
            field.holder[field.name] = known[field.value]
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
