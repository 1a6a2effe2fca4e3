"""Tokens of all issuers: Firebase's and those of the configuration. Which issuer a token is from decides who verifies
it.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from routing.authentication.caller_cache import CallerCache, digest_of
from routing.authentication.introspection import IntrospectedTokens
from routing.authentication.issuer_policy import Algorithm, Issuer, other_slash
from routing.authentication.issuer_token import caller_of, check_audience, check_header, check_times
from routing.authentication.jwks import ANY, candidates
from routing.authentication.key_waits import KeyWaits, unavailable
from routing.authentication.revocations import NONE, Revocations
from routing.authentication.signing_keys import SigningKeys
from routing.authentication.token_parts import MAX_TOKEN_LENGTH, ParsedToken, looks_like_jwt, parse
from routing.caller import Caller
from routing.errors import InvalidToken

OpenKeys = Callable[[Issuer, Callable[[frozenset[str]], None]], SigningKeys]
"""Makes the keys of an issuer; they call the function with the ids of keys that are gone."""


class FirebaseTokens(Protocol):
    """FirebaseVerifier, for tokens of its project."""

    @property
    def issuer(self) -> str: ...

    async def verify(self, token: str, now: float) -> Caller: ...


class IssuerTokens:
    """The tokens of all issuers. `clock` is Unix time. `insecure` permits issuers without TLS, on loopback addresses.

    `cache` is shared with `firebase` and `introspected`.
    """

    def __init__(
        self,
        open_keys: OpenKeys,
        cache: CallerCache,
        introspected: IntrospectedTokens,
        *,
        clock: Callable[[], float],
        firebase: FirebaseTokens | None = None,
        insecure: bool = False,
    ) -> None:
        self._open_keys = open_keys
        self._cache = cache
        self._introspected = introspected
        self._clock = clock
        self._firebase = firebase
        self._insecure = insecure
        self._issuers: dict[str, Issuer] = {}
        self._services: frozenset[str] = frozenset()
        self._revocations = NONE
        self._keys: dict[str, SigningKeys] = {}
        self._waits: Final = KeyWaits()

    @property
    def accepts_any(self) -> bool:
        """Whether any token can be valid."""
        return self._firebase is not None or bool(self._issuers)

    @property
    def keys(self) -> dict[str, SigningKeys]:
        """The signing keys of each issuer."""
        return self._keys

    def use_revocations(self, revocations: Revocations) -> None:
        """Refuse the tokens that these revoke from now on."""
        self._revocations = revocations

    def apply(self, issuers: Iterable[Issuer], services: Collection[str]) -> None:
        """Use this configuration from now on. The keys of new issuers are fetched in the background; of one of opaque
        tokens, with the first JWT.

        Callers that were verified under another one are forgotten.
        """
        wanted = {issuer.issuer: issuer for issuer in issuers if issuer.enabled}
        names = frozenset(services)
        if (wanted, names) == (self._issuers, self._services):
            return
        before, self._issuers, self._services = self._issuers, wanted, names
        keys: dict[str, SigningKeys] = {}
        for name, issuer in wanted.items():
            if self._is_usable(issuer):
                is_same = name in self._keys and before[name].jwks_uri == issuer.jwks_uri
                keys[name] = self._keys[name] if is_same else self._open(issuer)
        self._keys = keys
        self._cache.clear()
        self._introspected.forget()

    def cached(self, token: str, now: float) -> Caller | None:
        """The caller of a token that was verified recently, without I/O. `now` is Unix time."""
        caller = self._cache.find(token, now)
        return None if caller is not None and self._revocations.revoke(caller, now) else caller

    async def verify(self, token: str, now: float) -> Caller:
        """The token's caller. Raises InvalidToken, or AuthenticationUnavailable if it cannot be verified now."""
        caller = self._cache.find(token, now) or await self._identify(token, now)
        if self._revocations.revoke(caller, now):
            raise InvalidToken("the token was revoked")
        return caller

    async def _identify(self, token: str, now: float) -> Caller:
        if not looks_like_jwt(token):
            return await self._introspect(token)
        try:
            parsed = parse(token)
        except ValueError:
            raise InvalidToken("the token is not a well-formed JWT") from None
        name = parsed.claims.get("iss")  # unverified: it only decides whose keys have to fit
        if self._firebase is not None and name == self._firebase.issuer:
            return await self._firebase.verify(token, now)
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            is_near = isinstance(name, str) and other_slash(name) in self._issuers
            hint = ": it differs from the configured one in the slash at its end" if is_near else ""
            raise InvalidToken(f"the token's issuer is not accepted{hint}")
        return await self._verify(token, parsed, issuer, now)

    async def _introspect(self, token: str) -> Caller:
        """The caller of a token that names no issuer: the longest prefix that it begins with decides who is asked."""
        found = [
            issuer
            for issuer in self._issuers.values()
            if issuer.introspection is not None and token.startswith(issuer.introspection.prefix)
        ]
        if not found or len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken("the token is not a JWT")
        issuer = max(found, key=lambda each: len(each.introspection.prefix) if each.introspection else 0)
        if not self._is_usable(issuer):
            raise unavailable()
        caller = await self._introspected.verify(token, issuer, self._services)
        if self._issuers.get(issuer.issuer) is not issuer:
            raise InvalidToken("the token's issuer is not accepted")
        return caller

    async def _verify(self, token: str, parsed: ParsedToken, issuer: Issuer, now: float) -> Caller:
        keys = self._keys.get(issuer.issuer)
        if keys is None:
            raise unavailable()
        algorithm, kid = check_header(parsed, issuer)
        expires = check_times(parsed.claims, issuer.leeway, now)
        check_audience(parsed.claims, issuer)
        if not await self._waits.require(keys, kid, now):
            raise InvalidToken("the token's key is not known")
        await self._check_signature(parsed, algorithm, kid, keys, now)
        if self._issuers.get(issuer.issuer) is not issuer:  # changed during the wait
            raise InvalidToken("the token's issuer is not accepted")
        caller = caller_of(parsed.claims, issuer, expires, self._services)
        signer = f"{issuer.issuer} {kid}"
        self._cache.put(digest_of(token), signer, caller, self._clock())
        if not keys.contains(kid):  # removed meanwhile by the thread of a fetch, perhaps before the caller was cached
            self._cache.drop_keys(frozenset({signer}))
        return caller

    async def _check_signature(
        self, parsed: ParsedToken, algorithm: Algorithm, kid: str, keys: SigningKeys, now: float
    ) -> None:
        """Raises InvalidToken, after a look at newer keys if one is due."""
        try:
            check_signature(parsed, algorithm, kid, keys)
        except InvalidToken:
            if not await self._waits.renewed(keys, now):
                raise
            check_signature(parsed, algorithm, kid, keys)

    def _is_usable(self, issuer: Issuer) -> bool:
        return not issuer.faults and (self._insecure or not issuer.needs_debug)

    def _open(self, issuer: Issuer) -> SigningKeys:
        prefix = f"{issuer.issuer} "

        def removed(kids: frozenset[str]) -> None:
            self._cache.drop_keys(frozenset(prefix + kid for kid in kids))

        keys = self._open_keys(issuer, removed)
        if issuer.introspection is None:  # one of opaque tokens may have no keys, which is no fault then
            keys.prepare(ANY, self._clock())
        return keys


def check_signature(parsed: ParsedToken, algorithm: Algorithm, kid: str, keys: SigningKeys) -> None:
    """Raises InvalidToken. A token that names no key is verified with the only one that is for its algorithm."""
    current = keys.keys
    found = candidates(current.fetched.certificates.get(kid, ()), algorithm) if current is not None else ()
    if not found:
        raise InvalidToken("the token's key is for other algorithms")
    if kid == ANY and len(found) > 1:
        raise InvalidToken("the token names no key, and its issuer has several")
    if not any(key.verifies(algorithm, parsed.signed, parsed.signature) for key in found[:4]):
        raise InvalidToken("the token's signature is not valid")
