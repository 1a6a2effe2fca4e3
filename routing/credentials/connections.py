"""Accounts that callers, tenants or operators connect: an authorization code becomes a stored grant, until revoked."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from resilience.outage import StoreUnavailable
from routing.credentials.cipher import Cipher
from routing.credentials.driver import Credentials
from routing.credentials.grants import Subject, code_request, revocation_request
from routing.credentials.refresher import Refresher
from routing.credentials.subjects import credential_tag
from routing.credentials.token_endpoint import TokenEndpoint
from routing.credentials.token_response import TokenRequestFailed
from routing.router.credential_policy import CredentialPolicy
from routing.router.table import Service

REVOKED: Final = range(200, 300)
Invalidate = Callable[[str, list[str]], Awaitable[object]]
"""Invalidates a service's cached responses with these tags."""


class Connections:
    """Called on the event loop."""

    def __init__(
        self,
        credentials: Credentials,
        refresher: Refresher,
        endpoint: TokenEndpoint,
        cipher: Cipher,
        *,
        invalidate: Invalidate,
    ) -> None:
        self.cipher = cipher
        self._credentials = credentials
        self._refresher = refresher
        self._endpoint = endpoint
        self._invalidate = invalidate

    async def exchange(self, service: Service, subject: Subject, code: str, verifier: str, redirect_uri: str) -> str:
        """Connect the account that has granted this code, and return its name, empty if that is unknown.

        Raises TokenRequestFailed or VaultUnavailable.
        """
        policy = policy_of(service)
        if policy is None:
            raise TokenRequestFailed("not_configured")
        try:
            request = code_request(policy, subject, code, verifier, redirect_uri)
        except ValueError:
            raise TokenRequestFailed("invalid_configuration") from None
        tokens = await self._endpoint.fetch(request, policy.token_object)
        holder = self._credentials.of_subject(service.name, policy, subject)
        async with self._credentials.lock(holder):
            await self._refresher.connect(holder.grant, tokens, subject.tenant)
            with contextlib.suppress(StoreUnavailable):  # nothing is served from it meanwhile
                await self._forget(service, subject)
            await self._credentials.connected(holder, tokens)
        return tokens.account

    async def disconnect(self, service: Service, subject: Subject) -> bool:
        """Remove the account's tokens. Whether they were revoked where they came from, if they can be.

        Raises VaultUnavailable, and StoreUnavailable once they have been removed from the database.
        """
        policy = policy_of(service)
        if policy is None:
            return True
        holder = self._credentials.of_subject(service.name, policy, subject)
        async with self._credentials.lock(holder):
            grant = await self._refresher.load(holder.grant)
            is_unreadable = grant is None and await self._refresher.is_stored(holder.grant)
            await self._refresher.remove(holder.grant)
            await self._forget(service, subject)
        token = (grant.refresh_token or grant.access_token) if grant else ""
        if not policy.revoke_url or not token:
            return not (policy.revoke_url and is_unreadable)
        try:
            return await self._endpoint.revoke(revocation_request(policy, token)) in REVOKED
        except TokenRequestFailed:
            return False

    async def _forget(self, service: Service, subject: Subject) -> None:
        """Drop the tokens of all routes, and the responses that were fetched with them."""
        for policy in policies_of(service):
            await self._credentials.forget(service.name, policy, subject)
        await self._invalidate(service.name, [credential_tag(subject.id)])


def policy_of(service: Service) -> CredentialPolicy | None:
    """The service's credential that an account can be connected for."""
    return next((policy for policy in policies_of(service) if policy.authorize_url), None)


def policies_of(service: Service) -> Iterator[CredentialPolicy]:
    for policy in (service.policy, *(route.policy for route in service.routes)):
        if policy.credential is not None:
            yield policy.credential
