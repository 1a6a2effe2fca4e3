"""Decodes the `issuers` of a configuration document. No Django, no I/O."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from routing.authentication.issuer_policy import Algorithm, ClaimNames, Introspection, Issuer
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.headers import reference, resolve
from routing.configuration.sections import build
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    bounded_list,
    display,
    duration,
    list_of,
    mapping,
    mapping_of,
    matching,
    one_of,
    parse_mapping,
    string,
)
from routing.router.policy import NAME

EVERY_SERVICE: Final = "*"
MAX_ISSUERS: Final = 100
MAX_ITEMS: Final = 50
_CLAIM: Final = matching(re.compile(r"[!#-\[\]-~]{1,200}"), "a claim: visible ASCII without quotes")
_TYPE: Final = matching(re.compile(r"[A-Za-z0-9!#$&^_.+/-]{1,64}"), "a type of token, such as at+jwt")
_SERVICE: Final = matching(re.compile(rf"{NAME.pattern}|\*"), "the name of a service")


def issuer_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of an issuer, in canonical order."""
    return {
        "issuer": string,
        "audience": _one_or_more(_text),
        "enabled": boolean,
        "jwks_uri": string,
        "algorithms": _some(one_of(Algorithm)),
        "leeway": duration,
        "typ": _one_or_more(_type),
        "claims": mapping_of(
            {"id": _CLAIM, "audience": _CLAIM, "tenant": _CLAIM, "scopes": _one_or_more(_CLAIM), "email": _CLAIM}
        ),
        "require": _require,
        "services": _one_or_more(_SERVICE),
        "introspection": mapping_of(
            {"url": string, "client_id": _text, "client_secret": _secret(secret), "prefix": _text}
        ),
    }


def decode_issuers(value: object, secret: SecretLookup, faults: Faults) -> tuple[Issuer, ...]:
    """The issuers of a document. Adds what is wrong to `faults`, at `issuers.INDEX`."""
    found: list[Issuer] = []
    items: list[Any] = []
    with faults.at("issuers"):
        items = bounded_list(value, MAX_ISSUERS)
    for index, item in enumerate(items):
        with faults.at("issuers", index):
            issuer = decode_issuer(item, secret)
            if any(other.issuer == issuer.issuer for other in found):
                raise ConfigurationError([Fault(("issuer",), f"duplicate issuer: {issuer.issuer}")])
            found.append(issuer)
    return tuple(found)


def decode_issuer(value: object, secret: SecretLookup) -> Issuer:
    """One issuer. Raises ConfigurationError, with paths relative to it."""
    faults = Faults()
    settings: dict[str, Any] = {}
    with faults.at():
        settings = parse_mapping(value, issuer_parsers(secret), faults, null_is_default=True)
    given = value if isinstance(value, dict) else {}
    for name in ("issuer", "audience"):
        if given.get(name) is None:
            faults.add((), f"'{name}' is required")
    sections: tuple[tuple[str, Any], ...] = (("claims", ClaimNames), ("introspection", _introspection))
    for name, kind in sections:
        if name in settings:
            with faults.at(name):
                settings[name] = build(kind, settings[name])
    faults.raise_if_any()
    settings["types"] = settings.pop("typ", ())
    issuer: Issuer = build(Issuer, settings)
    return issuer


def decode_each_issuer(items: Iterable[Mapping[str, Any]], secret: SecretLookup) -> tuple[Issuer, ...]:
    """Each issuer on its own. One with faults accepts no token, and harms no other."""
    issuers = []
    for item in items:
        try:
            issuers.append(decode_issuer(item, secret))
        except ConfigurationError as error:
            issuers.append(Issuer(issuer=str(item.get("issuer")), faults=tuple(map(str, error.faults))))
    return tuple(issuers)


def _introspection(**settings: Any) -> Introspection:
    for name in ("url", "client_id"):
        if name not in settings:
            raise ValueError(f"introspection needs {name}")
    return Introspection(**settings)


def _one_or_more(parser: ValueParser) -> ValueParser:
    """One value, or a list that is not empty."""
    return lambda value: _some(parser)(value if isinstance(value, list | tuple) else [value])


def _some(parser: ValueParser) -> ValueParser:
    def parse(value: object) -> tuple[Any, ...]:
        items: tuple[Any, ...] = list_of(parser)(value)
        if not 1 <= len(items) <= MAX_ITEMS:
            raise ValueError(f"must have 1 to {MAX_ITEMS} items")
        return items

    return parse


def _text(value: object) -> str:
    text = string(value)
    if not 0 < len(text) <= 500 or not text.isprintable():
        raise ValueError("must be a text of 1 to 500 printable characters")
    return text


def _type(value: object) -> str:
    return str(_TYPE(value)).lower().removeprefix("application/")


def _require(value: object) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The values that each claim may have, by the claim's name."""
    faults, required = Faults(), []
    for name, item in mapping(value).items():
        with faults.at(name):
            required.append((str(_CLAIM(name)), _one_or_more(_scalar)(item)))
    faults.raise_if_any()
    if len(required) > MAX_ITEMS:
        raise ValueError(f"must have at most {MAX_ITEMS} claims")
    return tuple(sorted(required))


def _scalar(value: object) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"must be a text, a number or a boolean, not {display(value)}")
    return value


def _secret(secret: SecretLookup) -> ValueParser:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError("must be env:NAME or file:/PATH")
        found = reference(value)
        if found is None:
            return value
        if found.scheme:
            raise ValueError("must be env:NAME or file:/PATH alone")
        return resolve(found, secret)

    return parse
