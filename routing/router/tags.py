"""Substitution of the placeholders in a route's tags: path parameters, and fields of the caller."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from resilience.cache import policy
from routing.caller import Caller
from routing.router.table import Match

ANONYMOUS: Final = "anonymous"
"""The caller of a request without a credential. No caller's id equals it, since those contain a colon."""
LONGEST: Final = 128
"""Longest field of a caller in a tag, in characters; a longer one is replaced by its digest."""


def filled(tags: Iterable[str], match: Match, caller: Caller | None) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by that path parameter, and `{caller}` and `{tenant}` by the caller's fields.

    The configuration allows no path parameters of these two names. A tag that becomes the service's own name is left
    out: invalidating it would invalidate the whole service.
    """
    patterns = tuple(tags)
    if not any("{" in pattern for pattern in patterns):
        return patterns
    result = policy.fill_tags(patterns, (*match.params, *fields(caller).items()))
    service = match.service.name
    return tuple(tag for tag, pattern in zip(result, patterns, strict=True) if tag == pattern or tag != service)


def fields(caller: Caller | None) -> dict[str, str]:
    """The caller's fields as used in tags. A caller without a tenant has its id as tenant, as in `scope: tenant`."""
    own = _encoded(caller.id, safe=":@+") if caller else ANONYMOUS
    return {"caller": own, "tenant": _encoded(caller.tenant, safe="@+") if caller and caller.tenant else own}


def _encoded(value: str, safe: str) -> str:
    """Encoded as in X-Gateway-Caller, so that a backend can use the same tag. It contains no list separator, and a
    tenant no colon: it can be mistaken neither for a caller nor for two parts of a tag.
    """
    encoded = quote(value, safe=safe, errors="surrogatepass")
    if len(encoded) <= LONGEST:
        return encoded
    return "~" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
