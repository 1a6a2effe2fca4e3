"""Parsers of environment variables: each raises ValueError for text that is not such a value."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from gateway_project.environment.database_address import split_hosts
from routing.messages.origins import origin_pattern

T = TypeVar("T")
IPNetwork = IPv4Network | IPv6Network


class Get(Protocol):
    """The parsed value of a variable; `default` if it is unset, empty or invalid."""

    def __call__(self, name: str, default: T, parse: Callable[[str], T]) -> T: ...


_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_HOST: Final = re.compile(r"\*|\.?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
"""A host as Django compares it with a request's, without its port; `.example.com` includes subdomains."""


def boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is not a boolean: use on or off")


def words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def hosts(text: str) -> tuple[str, ...]:
    found = words(text)
    for word in found:
        if not _HOST.fullmatch(word):
            raise ValueError(
                f"no request has the host {word!r}: list names alone, such as gateway.example.com or .example.com, "
                "with commas or spaces between them"
            )
    return found


def listening_address(text: str) -> str:
    """A name or address to listen on. Brackets around an IPv6 address, as URLs have them, are removed."""
    if "/" in text:
        raise ValueError(f"{text!r} is not a host: write 0.0.0.0, or ::, without a scheme, a path or a port")
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"{text!r} is not an integer from {minimum} to {maximum}")
        return int(text)

    return parse


def issuers(text: str) -> tuple[dict[str, Any], ...]:
    """Issuers of tokens: a list of them or one, as YAML or JSON, or the path of a file with `issuers`."""
    from routing.configuration import document  # noqa: PLC0415 - few environments have issuers
    from routing.configuration.faults import ConfigurationError, Fault, Faults  # noqa: PLC0415 - as above
    from routing.configuration.issuers import decode_issuers  # noqa: PLC0415 - as above

    is_inline = text.startswith(("[", "{", "-")) or "\n" in text or ": " in text
    faults = Faults()
    try:
        found = document.parse(text if is_inline else Path(text).read_bytes())
        items = found.structure
        if isinstance(items, dict):
            items = items.get("issuers", [items]) if items.keys() <= {"version", "issuers"} else [items]
        decode_issuers(items, lambda _name: "", faults)
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror}") from None
    except ConfigurationError as error:
        faults.found += error.faults
    if faults.found:
        messages = (str(Fault(fault.path[1:], fault.message)) for fault in faults.found)
        raise ValueError("; ".join(messages))
    return tuple(items or ())


def limit(text: str) -> int:
    return 0 if text.lower() in _FALSE else integer(1, 1_000_000)(text)


def cookie_prefix(debug: bool) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(r"(__Host-|__Secure-)?[A-Za-z][A-Za-z0-9_.-]{0,31}", text):
            raise ValueError(f"{text!r} is not the beginning of a cookie's name: use letters, digits, `_`, `-` and `.`")
        if debug and text.startswith("__"):
            raise ValueError("__Host- and __Secure- require https, which DEBUG does without")
        return text

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def database_url(text: str) -> str:
    """Error messages contain nothing of the URL, since any part may belong to a password."""
    scheme = text.partition("://")[0].lower()
    if scheme not in ("sqlite", "postgres", "postgresql"):
        raise ValueError("must be a sqlite:// or postgresql:// URL")
    if scheme != "sqlite":
        try:
            single, _ = split_hosts(text)
            parts = urlsplit(single)
            valid = parts.port != 0 and parts.netloc.count("@") < 2 and "@" not in parts.path and not parts.fragment
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(
                "has an invalid host or port; an `@`, `:`, `/`, `?` or `#` of a password must be percent-encoded"
            )
        if not parts.path.strip("/") and "service=" not in parts.query:
            raise ValueError("names no database: postgresql://USER:PASSWORD@HOST:PORT/NAME")
    return text


def directory(text: str) -> Path:
    """A directory that may not exist yet, independent of the working directory."""
    if text.startswith("~"):
        raise ValueError(f"{text!r} begins with `~`, which only shells replace: write the whole path")
    path = Path(text).absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{text!r} is not a directory")
    return path


def file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text!r} is not a file")
    return path


def authorities(text: str) -> bytes:
    """The content of a file with certificates of authorities in PEM."""
    from routing.authentication.certificates.certificate import MALFORMED  # noqa: PLC0415 - cryptography loads slowly, for CLIENT_CA alone
    from routing.authentication.certificates.trust import trust_in  # noqa: PLC0415 - as above

    content = file(text).read_bytes()
    try:
        trust_in(content)
    except MALFORMED as error:
        raise ValueError(f"{text!r} does not contain certificates in PEM that can be used: {error}") from None
    return content


def networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(word) for word in words(text))


def staff_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+", text):
        raise ValueError(f"{text!r} is not a host name: write staff.example.com, without a scheme or port")
    return text.lower().removesuffix(".")


def origins(text: str) -> tuple[str, ...]:
    return tuple(origin_pattern(word) for word in words(text))
