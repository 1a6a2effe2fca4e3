"""Fetches a token by a credential's grant. A rotated refresh token is stored before the new access token is used."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from routing.credentials.cipher import Cipher
from routing.credentials.grants import token_request
from routing.credentials.holder import Holder, seed_digest
from routing.credentials.token_endpoint import TokenEndpoint
from routing.credentials.token_response import MAX_SECONDS, TokenRequestFailed, TokenResponse
from routing.credentials.vault import GrantName, GrantStatus, StoredGrant, Vault, VaultUnavailable
from routing.router.credential_policy import GrantType

log = logging.getLogger(__name__)

SAVE_ATTEMPTS: Final = 3
SAVE_PAUSE_SECONDS: Final = 0.2
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(StoredGrant).decode


class NotConnected(Exception):
    """Nobody has connected an account, and no refresh token is configured."""


class Refresher:
    """`secret` is the key of digests; `clock` is Unix time."""

    def __init__(
        self, endpoint: TokenEndpoint, vault: Vault, cipher: Cipher, *, secret: bytes, clock: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._vault = vault
        self._cipher = cipher
        self._secret = secret
        self._clock = clock
        self._unsaved: dict[GrantName, tuple[StoredGrant, TokenResponse]] = {}
        """Rotated refresh tokens that the database has not taken yet, with the access tokens that wait for that."""

    async def fetch(self, holder: Holder) -> TokenResponse:
        """A new access token. Raises TokenRequestFailed or NotConnected."""
        if holder.policy.grant is GrantType.REFRESH_TOKEN:
            return await self._by_refresh_token(holder)
        return await self._request(holder, "")

    async def save(self, name: GrantName, grant: StoredGrant) -> None:
        """Store a refresh token. Raises VaultUnavailable."""
        await self._vault.save(name, self._cipher.encrypt(str(name), _encode(grant)))

    async def load(self, name: GrantName) -> StoredGrant | None:
        """The stored refresh token, if it can be decrypted. Raises VaultUnavailable."""
        value = await self._vault.load(name)
        if value is None:
            return None
        content = self._cipher.decrypt(str(name), value)
        if content is None:
            log.warning("the stored refresh token of %s (%s) cannot be decrypted", name.service, name.subject)
            return None
        try:
            return _decode(content)
        except msgspec.DecodeError:
            return None

    async def is_stored(self, name: GrantName) -> bool:
        """Whether there is a refresh token, which may be one that cannot be decrypted. Raises VaultUnavailable."""
        return await self._vault.load(name) is not None

    async def connect(self, name: GrantName, tokens: TokenResponse, tenant: str) -> None:
        """Store the grant of an account that has been connected, for one of this tenant. Raises VaultUnavailable."""
        now = self._clock()
        grant = StoredGrant(tokens.refresh_token)
        if not tokens.refresh_token:
            grant = StoredGrant("", "", tokens.access_token, now + tokens.expires_in if tokens.expires else 0.0)
        self._unsaved.pop(name, None)
        encrypted = self._cipher.encrypt(str(name), _encode(grant))
        await self._vault.connect(name, encrypted, tokens.account, now, tenant)

    async def remove(self, name: GrantName) -> None:
        """Remove a refresh token and its state. Raises VaultUnavailable."""
        self._unsaved.pop(name, None)
        await self._vault.remove(name)

    async def report(self, holder: Holder, now: float, failure: str = "") -> None:
        """Record the credential's state for staff, as far as the database is there. `failure` is what its token met."""
        record = holder.record
        status = GrantStatus(record.expires_at, failure or record.failure, now, tenant=holder.subject.tenant)
        try:
            await self._vault.report(holder.grant, status)
        except VaultUnavailable:
            log.info("the state of a credential of %s was not recorded: the database is unavailable", holder.service)

    async def _request(self, holder: Holder, refresh_token: str) -> TokenResponse:
        policy, subject, now = holder.policy, holder.subject, self._clock()
        try:
            if policy.grant is GrantType.JWT_BEARER:  # which signs
                request = await asyncio.to_thread(token_request, policy, subject, now=now)
            else:
                request = token_request(policy, subject, refresh_token=refresh_token)
        except ValueError as error:
            log.warning("the credential of the service %s cannot be used: %s", holder.service, error)
            raise TokenRequestFailed("invalid_configuration", permanent=True) from None
        return await self._endpoint.fetch(request, policy.token_object, is_refresh=True)

    async def _by_refresh_token(self, holder: Holder) -> TokenResponse:
        if holder.grant in self._unsaved:
            return await self._save_pending(holder.grant)
        grant = await self._current(holder)
        if not grant.refresh_token:
            return self._lasting(grant)
        try:
            tokens = await self._request(holder, grant.refresh_token)
        except TokenRequestFailed as error:
            # Without Redis to agree through, another worker may have rotated it meanwhile.
            later = await self._current(holder) if error.ends_grant else grant
            if later == grant:
                raise
            grant = later
            tokens = await self._request(holder, grant.refresh_token)
        if tokens.refresh_token and tokens.refresh_token != grant.refresh_token:
            rotated = StoredGrant(tokens.refresh_token, grant.seed)
            self._unsaved[holder.grant] = rotated, tokens
            return await self._save_pending(holder.grant)
        return tokens

    def _lasting(self, grant: StoredGrant) -> TokenResponse:
        """The access token of an account whose tokens are not refreshed."""
        left = grant.expires_at - self._clock() if grant.expires_at else MAX_SECONDS
        if left <= 0:
            raise TokenRequestFailed("token_expired", permanent=True)
        return TokenResponse(grant.access_token, left)

    async def _current(self, holder: Holder) -> StoredGrant:
        """The refresh token to use: a configured one, until one that descends from it is stored."""
        seed = seed_digest(holder.policy, self._secret)
        try:
            stored = await self.load(holder.grant)
        except VaultUnavailable:
            raise TokenRequestFailed("database_unavailable") from None
        if stored is not None and stored.seed == seed:
            return stored
        if not holder.policy.refresh_token:
            raise NotConnected
        return StoredGrant(holder.policy.refresh_token, seed)

    async def _save_pending(self, name: GrantName) -> TokenResponse:
        """The access token that came with a rotated refresh token, once that is stored. Raises TokenRequestFailed."""
        grant, tokens = self._unsaved[name]
        for attempt in range(SAVE_ATTEMPTS):
            try:
                await self.save(name, grant)
            except VaultUnavailable:
                await asyncio.sleep(SAVE_PAUSE_SECONDS * attempt)
            else:
                self._unsaved.pop(name, None)
                return tokens
        log.error("a rotated refresh token of the service %s could not be stored: it is kept in memory", name.service)
        raise TokenRequestFailed("database_unavailable")
