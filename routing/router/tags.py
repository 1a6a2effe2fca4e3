"""What fills the placeholders of a route's tags: the path's parameters, and who is asking."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from resilience.cache import policy
from routing.caller import Caller
from routing.router.table import Match

ANONYMOUS: Final = "anonymous"
"""Who asks without a credential. No caller's id is like it: those have a colon."""
LONGEST: Final = 128
"""Characters of one caller's field in a tag; a longer one is told by its digest, so that a tag stays within its own."""


def filled(tags: Iterable[str], match: Match, caller: Caller | None) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by what the request says there, and `{caller}` and `{tenant}` by who makes it.

    No path has parameters of these two names: configuration refuses them. What becomes the service's own name that
    way is left out: taken back, it would take the whole service along.
    """
    written = tuple(tags)
    if not any("{" in tag for tag in written):
        return written
    said = policy.fill_tags(written, (*match.params, *fields(caller).items()))
    return tuple(tag for tag, pattern in zip(said, written, strict=True) if tag == pattern or tag != match.service.name)


def fields(caller: Caller | None) -> dict[str, str]:
    """The caller's fields as they stand in a tag. One without a tenant is told by its id, as in `scope: tenant`."""
    own = _named(caller.id, safe=":@+") if caller else ANONYMOUS
    return {"caller": own, "tenant": _named(caller.tenant, safe="@+") if caller and caller.tenant else own}


def _named(value: str, safe: str) -> str:
    """Written as in X-Gateway-Caller, so that a backend can name the same tag. Nothing in it divides a list, and a
    tenant has no colon: it can pose neither as a caller nor as two of a tag's parts.
    """
    written = quote(value, safe=safe, errors="surrogatepass")
    if len(written) <= LONGEST:
        return written
    return "~" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
