"""What a key may be used for beside its scopes: from which addresses, and with which methods. Pure rules."""

import msgspec

from routing.errors import AddressNotAllowed, Forbidden
from routing.networks import Addresses, permits


class KeyRules(msgspec.Struct, frozen=True):
    """The limits of a key. `methods` None permits all methods. HEAD is part of GET (RFC 9110 section 9.3.2), as in
    routes and plans.
    """

    addresses: Addresses = ()
    methods: frozenset[str] | None = None

    def check(self, client: str, method: str) -> None:
        """Raise Forbidden if a client with this address may not use the key with this method."""
        if not permits(self.addresses, client):
            raise AddressNotAllowed("the API key may not be used from this address")
        if self.methods is None or method in self.methods or (method == "HEAD" and "GET" in self.methods):
            return
        raise Forbidden("the API key may not be used with this method")
