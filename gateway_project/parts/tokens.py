"""Builds what verifies tokens: Firebase's, and those of the issuers in the configuration."""

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway_project.config import Config
from gateway_project.parts.optional import open_firebase
from routing.authentication.authenticator import Authenticator
from routing.authentication.caller_cache import CallerCache
from routing.authentication.discovery import KeySetClient
from routing.authentication.identity_signer import IdentitySigner
from routing.authentication.introspection import IntrospectedTokens
from routing.authentication.issuer_keys import SharedKeySource, SharedStore
from routing.authentication.issuer_policy import Issuer
from routing.authentication.issuers import IssuerTokens
from routing.authentication.revocations import Revocations
from routing.authentication.signing_keys import SigningKeys
from routing.backend.client import Backend
from routing.credentials.cipher import Cipher
from routing.credentials.token_endpoint import TokenEndpoint
from routing.router.table import RouteTable

if TYPE_CHECKING:
    from routing.authentication.firebase import FirebaseVerifier


class Tokens:
    """The verification of tokens in one process."""

    def __init__(self, config: Config, backend: Backend, store: SharedStore, clock: Callable[[], float]) -> None:
        cache = CallerCache()
        self._firebase: FirebaseVerifier | None = open_firebase(config, cache)
        self._introspected = IntrospectedTokens(TokenEndpoint(backend, time.time).introspect, cache, time.time)
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._secret = blake2b(config.secret_key.encode(), person=b"issuer keys").digest()
        self._clock = clock
        self._issuers = IssuerTokens(
            self._open_keys,
            cache,
            self._introspected,
            clock=time.time,
            firebase=self._firebase,
            insecure=config.debug,
        )

    @property
    def keys(self) -> dict[str, SigningKeys]:
        """The signing keys of each issuer, Firebase included, by the names of their health checks."""
        firebase = {} if self._firebase is None else {"signing_keys": self._firebase.keys}
        return {**firebase, **{f"signing_keys {name}": keys for name, keys in self._issuers.keys.items()}}

    def apply(self, authenticator: Authenticator, table: RouteTable) -> None:
        """Verify the tokens of this table's issuers from now on."""
        self._issuers.apply(table.issuers, table.services)
        revocations = Revocations(table.revocations)
        self._issuers.use_revocations(revocations)
        authenticator.verify_with(self._issuers if self._issuers.accepts_any else None, revocations)

    async def close(self) -> None:
        await self._introspected.close()
        if self._firebase is not None:
            self._firebase.close()

    def _open_keys(self, issuer: Issuer, on_removed: Callable[[frozenset[str]], None]) -> SigningKeys:
        source = SharedKeySource(
            KeySetClient(issuer, self._clock),
            self._store,
            self._loop,
            name=f"{issuer.issuer} {issuer.jwks_uri or ''}",
            secret=self._secret,
            clock=self._clock,
        )
        return SigningKeys(source, self._clock, on_removed, f"the issuer {issuer.issuer}")


def load_identity_keys(cipher: Cipher, signer: IdentitySigner, table: RouteTable) -> None:
    """Let `signer` have the keys, if a service needs any. Blocking."""
    policies = (
        policy
        for service in table.services.values()
        for policy in (service.policy, *(route.policy for route in service.routes))
    )
    if any(policy.identity is not None and policy.identity.audience is not None for policy in policies):
        from routing.credentials.identity_keys import identity_keys  # noqa: PLC0415 - models cannot be imported before all apps are loaded

        signer.use(identity_keys(cipher))
