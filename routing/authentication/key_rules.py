"""What a key may be used for beside its scopes: from which addresses, and with which methods. Pure rules."""

import msgspec

from routing.errors import AddressNotAllowed, Forbidden
from routing.networks import Addresses, permits


class KeyRules(msgspec.Struct, frozen=True):
    """The limits of a key. `methods` None permits all methods."""

    addresses: Addresses = ()
    methods: frozenset[str] | None = None

    def check(self, client: str, method: str) -> None:
        """Raise Forbidden if a client with this address may not use the key with this method."""
        if not permits(self.addresses, client):
            raise AddressNotAllowed("the API key may not be used from this address")
        if self.methods is not None and method not in self.methods:
            raise Forbidden("the API key may not be used with this method")
