"""Via: which gateways of this kind a request has passed (RFC 9110 section 7.6.3)."""

from collections.abc import Sequence
from typing import Final

from routing.errors import ServiceMisconfigured
from routing.http import Header, joined

ENTRY: Final = b"1.1 gateway"
MAX_GATEWAYS: Final = 5
"""How many one request may pass. A request that passes more is in a loop: a target leads back to the gateway."""


def gateways_passed(headers: Sequence[Header]) -> int:
    """The number of entries that such gateways add. Anyone can send them."""
    received = joined(headers, b"via")
    return 0 if received is None else [entry.strip() for entry in received.split(b",")].count(ENTRY)


def via(headers: Sequence[Header]) -> bytes:
    """The field for the backend: an entry for each gateway, this one included. Entries of others are not passed on.

    Raises ServiceMisconfigured for a loop. It does not count as a failure of the service, since anyone can send such a
    field.
    """
    passed = gateways_passed(headers)
    if passed >= MAX_GATEWAYS:
        raise ServiceMisconfigured("a target leads back to the gateway")
    return b", ".join([ENTRY] * (passed + 1))
