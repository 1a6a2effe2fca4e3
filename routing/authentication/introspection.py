"""Tokens that are not JWTs, verified by asking their issuer (RFC 7662)."""

import asyncio
import logging
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

from resilience.task_set import TaskSet
from resilience.throttled_log import ThrottledLog
from routing.authentication.caller_cache import CallerCache, digest_of
from routing.authentication.issuer_policy import Introspection, Issuer
from routing.authentication.issuer_token import caller_of, check_audience, check_times, claim
from routing.authentication.key_waits import unavailable
from routing.authentication.token_parts import parse_object
from routing.caller import Caller
from routing.errors import GatewayError, InvalidToken
from routing.http import Headers

log = logging.getLogger(__name__)

CACHE_SECONDS: Final = 60.0
"""How long an active token is trusted, at most: after that, its issuer may have revoked it."""
INACTIVE_SECONDS: Final = 5.0
MAX_INACTIVE: Final = 10_000
MAX_PENDING: Final = 256
"""The most tokens that are being introspected. Beyond that, verification is unavailable."""
_OK: Final = 200
_NO_ACCESS: Final = frozenset({"refresh", "refresh_token", "offline", "id", "id_token"})
"""What authorization servers call tokens that are not for a resource, but active nevertheless."""
_KINDS: Final = ("token_use", "token_type", "typ")
"""Where they say it: Ory Hydra, others, and Keycloak."""


class Question(NamedTuple):
    """A request to an introspection endpoint."""

    url: str
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Question({self.url!r})"


Send = Callable[[Question], Awaitable[tuple[int, bytes]]]
"""Sends a request and returns the status and the content. Raises ConnectionError."""


class IntrospectedTokens:
    """`cache` is that of all tokens. `clock` is Unix time."""

    def __init__(self, send: Send, cache: CallerCache, clock: Callable[[], float]) -> None:
        self._send = send
        self._cache = cache
        self._clock = clock
        self._tasks = TaskSet()
        self._warnings = ThrottledLog(log)
        self._pending: dict[tuple[str, bytes], asyncio.Task[Caller]] = {}
        self._inactive: OrderedDict[bytes, float] = OrderedDict()
        self._epoch = 0

    async def verify(self, token: str, issuer: Issuer, services: Collection[str]) -> Caller:
        """The token's caller. Raises InvalidToken, or AuthenticationUnavailable.

        One request is in flight for a token, which continues if those that wait for it are gone.
        """
        policy = issuer.introspection
        if policy is None:
            raise InvalidToken("the token is not a JWT")
        digest = digest_of(token)
        if self._inactive.get(digest, 0.0) > self._clock():
            raise InvalidToken("the token is not active")
        key = f"{issuer.issuer} {self._epoch}", digest
        task = self._pending.get(key)
        if task is None:
            if len(self._pending) >= MAX_PENDING:
                raise unavailable()
            task = self._pending[key] = self._tasks.create(
                self._introspect(token, issuer, policy, services, self._epoch)
            )
            task.add_done_callback(partial(self._ended, key))
        try:
            return await asyncio.shield(task)
        except GatewayError as error:
            raise error.with_traceback(None) from None

    def forget(self) -> None:
        """Forget which tokens are not active, and keep no result of a request in flight: the configuration has
        changed.
        """
        self._inactive.clear()
        self._epoch += 1

    async def close(self) -> None:
        await self._tasks.cancel_and_wait()

    async def _introspect(
        self, token: str, issuer: Issuer, policy: Introspection, services: Collection[str], epoch: int
    ) -> Caller:
        digest, claims = digest_of(token), await self._ask(token, issuer, policy)
        now = self._clock()
        try:
            caller = read(claims, issuer, now, services)
        except InvalidToken:
            if epoch == self._epoch:
                self._reject(digest, now)
            raise
        if epoch == self._epoch:
            self._cache.put(digest, f"{issuer.issuer} introspected", caller, now, CACHE_SECONDS)
        return caller

    async def _ask(self, token: str, issuer: Issuer, policy: Introspection) -> dict[str, Any]:
        """What the endpoint says of the token. Raises AuthenticationUnavailable, and logs why once in a while: clients
        are not told, and an operator may have to correct the secret.
        """
        try:
            status, body = await self._send(question(policy, token))
            if status == _OK:
                return parse_object(body)
            failure = f"status {status}"
        except ConnectionError as error:
            failure = str(error)
        except ValueError:
            failure = "the response is not a JSON object"
        self._warnings.warning(f"opaque tokens of {issuer.issuer} cannot be verified by introspection", failure)
        raise unavailable()

    def _ended(self, key: tuple[str, bytes], task: asyncio.Task[Caller]) -> None:
        self._pending.pop(key, None)
        if not task.cancelled():
            task.exception()  # so that asyncio does not log it where everybody who waited is gone

    def _reject(self, digest: bytes, now: float) -> None:
        self._inactive[digest] = now + INACTIVE_SECONDS
        self._inactive.move_to_end(digest)
        if len(self._inactive) > MAX_INACTIVE:
            self._inactive.popitem(last=False)


def question(policy: Introspection, token: str) -> Question:
    """The request, with the client's credentials as RFC 6749 section 2.3.1 has them."""
    form = {"token": token, "token_type_hint": "access_token"}
    headers: Headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"cache-control", b"no-store"),
    ]
    if policy.client_secret:
        pair = f"{quote_plus(policy.client_id)}:{quote_plus(policy.client_secret)}"
        headers.append((b"authorization", b"Basic " + b64encode(pair.encode())))
    else:
        form["client_id"] = policy.client_id
    return Question(policy.url, headers, urlencode(form).encode())


def read(claims: dict[str, Any], issuer: Issuer, now: float, services: Collection[str]) -> Caller:
    """The caller of an introspection response. Raises InvalidToken.

    The authorization server decides whether the token is for this client (RFC 7662 section 4); an audience or an issuer
    that it names must be ours.
    """
    if claims.get("active") is not True:
        raise InvalidToken("the token is not active")
    if not _NO_ACCESS.isdisjoint(_last_word(claims.get(name)) for name in _KINDS):
        raise InvalidToken("the token is not an access token")
    if claims.get("iss") not in (None, issuer.issuer):
        raise InvalidToken("the token's issuer is not accepted")
    if claim(claims, issuer.claims.audience) is not None:
        check_audience(claims, issuer)
    if claims.get("exp") is None:
        claims = {**claims, "exp": now + CACHE_SECONDS - issuer.leeway}  # the other times hold nevertheless
    return caller_of(claims, issuer, check_times(claims, issuer.leeway, now), services)


def _last_word(kind: object) -> str:
    """Also of a URN, as urn:ietf:params:oauth:token-type:refresh_token."""
    return kind.rpartition(":")[2].lower() if isinstance(kind, str) else ""
