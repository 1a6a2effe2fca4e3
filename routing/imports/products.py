"""The products whose files are imported, and how a file's product is recognized."""

import tomllib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from routing.configuration.anchors import parse_with_aliases
from routing.configuration.decode import decode
from routing.configuration.faults import ConfigurationError, Fault
from routing.imports import deck, krakend, litellm, traefik
from routing.imports.report import Imported


class Product(NamedTuple):
    recognises: Callable[[dict[str, Any]], bool]
    convert: Callable[[dict[str, Any]], Imported]


PRODUCTS: Final = {
    "deck": Product(deck.is_deck, deck.convert),
    "krakend": Product(krakend.is_krakend, krakend.convert),
    "litellm": Product(litellm.is_litellm, litellm.convert),
    "traefik": Product(traefik.is_traefik, traefik.convert),
}


def read(content: bytes) -> dict[str, Any]:
    """A file in YAML, JSON or TOML. Raises ConfigurationError."""
    try:
        structure = parse_with_aliases(content)
    except ConfigurationError:
        structure = _toml(content)
        if structure is None:
            raise
    if not isinstance(structure, dict):
        raise ConfigurationError([Fault((), "the file is not a mapping of names to values")])
    return structure


def _toml(content: bytes) -> dict[str, Any] | None:
    try:
        return tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None


def product_of(structure: dict[str, Any]) -> str | None:
    """The product's key; None for any other file."""
    return next((name for name, product in PRODUCTS.items() if product.recognises(structure)), None)


def convert(structure: dict[str, Any], name: str) -> Imported:
    """The imported configuration, which is valid. Raises ConfigurationError."""
    imported = PRODUCTS[name].convert(structure)
    if not imported.structure["services"]:
        message = "nothing to import: no service has a target"
        raise ConfigurationError([Fault((), message), *(Fault((), str(note)) for note in imported.notes)])
    decode(imported.structure, lambda _name: "")
    return imported
