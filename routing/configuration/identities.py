"""The identities of consumers: the users of an issuer, and client certificates. No Django, no I/O."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from routing.configuration.faults import ConfigurationError, Faults, Path
from routing.configuration.sections import build
from routing.configuration.values import ValueParser, list_of, mapping, mapping_of, matching, scope, string
from routing.consumers.policy import CERTIFICATE, CERTIFICATE_SUBJECT, UserBinding

MAX_IDENTITY: Final = 255
"""The most characters of an issuer, a subject or a tenant."""


def _text(value: object) -> str:
    if not 0 < len(string(value)) <= MAX_IDENTITY or not str(value).isprintable():
        raise ValueError(f"must be 1 to {MAX_IDENTITY} visible characters")
    return str(value)


_named: Final = matching(
    CERTIFICATE_SUBJECT, "sha256:HEX, uri:URI, dns:NAME or subject:DN, each as the certificate has it, or *"
)
_OTHER_SUBJECT: Final = re.compile(r"subject:(?:/|[A-Za-z0-9.]+ =)|subject:.*(?<!\\), ")
"""A subject as current and earlier versions of OpenSSL print it without options: no certificate's subject is written
so.
"""


def _certificate(value: object) -> str:
    text = str(_named(value))
    if _OTHER_SUBJECT.match(text):
        raise ValueError("write the subject as CN=web,O=Shop (openssl x509 -noout -subject -nameopt RFC2253)")
    return text


IDENTITY: Final[dict[str, ValueParser]] = {
    "issuer": _text,
    "subject": _text,
    "tenant": _text,
    "certificate": _certificate,
    "scopes": list_of(scope),
}


def parse_identity(value: object) -> UserBinding:
    """An identity: the scopes beside it belong to the credential, and do not identify anybody."""
    settings = mapping_of(IDENTITY)(value)
    has_scopes = settings.pop("scopes", None) is not None
    if "certificate" in settings:
        if len(settings) > 1:
            raise ValueError("an identity is a certificate or has an issuer, not both")
        return UserBinding(issuer=CERTIFICATE, subject=_text(settings["certificate"]))
    if "issuer" not in settings:
        raise ValueError("an identity needs 'issuer' or 'certificate'")
    if settings["issuer"] == CERTIFICATE or has_scopes:
        raise ValueError("scopes are for 'certificate' only: a token has its own")
    identity: UserBinding = build(UserBinding, settings)
    return identity


def identity_columns(value: object) -> dict[str, Any]:
    """A valid identity as it is stored."""
    found, settings = parse_identity(value), mapping(value)
    return {**msgspec.structs.asdict(found), "scopes": settings.get("scopes")}


def canonical_identities(value: list[dict[str, str]]) -> list[dict[str, str]]:
    ordered = [
        {key: item[key] for key in IDENTITY if item.get(key) or (key == "scopes" and item.get(key) is not None)}
        for item in value
    ]
    return sorted(ordered, key=lambda item: tuple(item.get(key, "") for key in list(IDENTITY)[:4]))


def check_identities(consumers: Mapping[str, Any], faults: Faults) -> None:
    owners: dict[UserBinding, str] = {}
    for name, item in consumers.items():
        listed = item.get("identities") if isinstance(item, dict) else None
        for index, value in enumerate(listed if isinstance(listed, list | tuple) else ()):
            try:
                identity = parse_identity(value)
            except (ValueError, ConfigurationError):
                continue  # reported with its consumer
            if identity in owners:
                path: Path = ("consumers", name, "identities", index)
                faults.add(path, f"is already an identity of {owners[identity]}")
            owners.setdefault(identity, name)
