"""The hosts that the gateway answers for under its own paths: `ALLOWED_HOSTS`, by Django's rules."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

ANY: Final = "*"
MAX_SHOWN: Final = 100
"""Longest host that an error repeats. Errors are memoised, and a client chooses what is repeated."""
_SHOWN: Final = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")


@lru_cache(maxsize=1_024)
def domain_of(host: str) -> str:
    """The domain of a Host field in lower case: without its port and the dot of a fully qualified name.

    An IPv6 address keeps its brackets, as Django writes it.
    """
    domain = host.lower()
    if domain.endswith("]"):
        return domain
    return domain.rpartition(":")[0].removesuffix(".") if ":" in domain else domain.removesuffix(".")


def first_name(patterns: Iterable[str], default: str) -> str:
    """The first of these that is a host and not a pattern; `default` if all are patterns."""
    return next((host for host in patterns if not host.startswith((".", ANY))), default)


def explain_refusal(host: str) -> str:
    """The error's detail for a Host field that names no allowed host, with what the operator can do.

    It names nothing of this installation, and repeats the host only if it has the form of one.
    """
    domain = domain_of(host)
    if len(domain) > MAX_SHOWN or _SHOWN.fullmatch(domain) is None:
        return "the Host field names a host that is not served here; ALLOWED_HOSTS lists those that are"
    return f"{domain} is not served here; if it is this gateway's own host, its operator adds it to ALLOWED_HOSTS"


class AllowedHosts:
    """Host names, `.example.com` for a domain and all below it, and `*` for any."""

    def __init__(self, patterns: Iterable[str] = (ANY,)) -> None:
        lower = [pattern.lower() for pattern in patterns]
        self._any = ANY in lower
        self._domains = tuple(pattern for pattern in lower if pattern.startswith("."))
        self._exact = frozenset(lower).union([domain[1:] for domain in self._domains])

    def allows(self, host: str) -> bool:
        """Whether a Host field names one of these, on any port. A missing one, as in HTTP/1.0, names no other host."""
        if self._any or not host:
            return True
        domain = domain_of(host)
        return domain in self._exact or domain.endswith(self._domains)
