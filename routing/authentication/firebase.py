"""Firebase ID tokens, verified by firebase-admin in a few threads and cached for a while.

The only module that imports firebase_admin; `_verified_claims` translates its exceptions. Its threads do no I/O: the
library reads the keys that `SigningKeys` fetched.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple
from uuid import uuid4

import firebase_admin
from firebase_admin import auth, credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError

from routing.authentication import key_endpoint
from routing.authentication.id_token import CLOCK_SKEW_SECONDS, MAX_TOKEN_LENGTH, caller_from_claims, precheck
from routing.authentication.signing_keys import RETRY_SECONDS, SigningKeys
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, Unauthenticated

EMULATOR: Final = "FIREBASE_AUTH_EMULATOR_HOST"
THREADS: Final = 2
"""A verification takes a millisecond of CPU."""
MAX_PENDING: Final = 256
"""Tokens being verified, and tokens waiting for a key. Beyond that, verification is unavailable."""
VERIFY_TIMEOUT_SECONDS: Final = 6.0
"""For one verification including its time in the queue, and for the wait for a key before it."""
MAX_CACHED: Final = 10_000
CACHE_SECONDS: Final = 300.0
_OK: Final = 200


class _CachedCaller(NamedTuple):
    caller: Caller
    expires: float
    kid: str


class _CallerCache:
    """An LRU cache of callers by token digest. Written by threads, read by the event loop."""

    def __init__(self) -> None:
        self._entries: Final[OrderedDict[bytes, _CachedCaller]] = OrderedDict()
        self._lock: Final = Lock()

    def get(self, digest: bytes, now: float) -> Caller | None:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry.expires <= now:
                del self._entries[digest]
                return None
            self._entries.move_to_end(digest)
            return entry.caller

    def put(self, digest: bytes, kid: str, caller: Caller, now: float) -> None:
        """Keep a caller whose token was signed by the key `kid`."""
        expires = now + CACHE_SECONDS
        if caller.expires is not None:
            expires = min(expires, caller.expires)
        with self._lock:
            self._entries[digest] = _CachedCaller(caller, expires, kid)
            self._entries.move_to_end(digest)
            if len(self._entries) > MAX_CACHED:
                self._entries.popitem(last=False)

    def drop_keys(self, kids: frozenset[str]) -> None:
        """Forget the callers of tokens that these keys signed."""
        with self._lock:
            for digest in [digest for digest, entry in self._entries.items() if entry.kid in kids]:
                del self._entries[digest]


class FirebaseVerifier:
    """Verifies tokens. `project` is the Firebase project's id, `certificate` a service account's file.

    `emulator` is the address of an emulator whose unsigned tokens are accepted, for development only.
    """

    def __init__(
        self,
        project: str,
        *,
        clock: Callable[[], float],
        certificate: str | None = None,
        emulator: str | None = None,
    ) -> None:
        if not project:
            raise ValueError("Firebase needs a project id")
        # As the library reads it: with an emulator it verifies no signatures.
        check_emulator({EMULATOR: auth._auth_utils.get_emulator_host()}, emulator)
        self._project: Final = project
        self._clock: Final = clock
        self._signed: Final = emulator is None
        self._app: Final = _app(project, certificate)
        self._threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="firebase")
        self._cache: Final = _CallerCache()
        self._pending: Final[dict[bytes, Future[Caller]]] = {}
        self._waiting = 0
        library = auth._get_client(self._app)._token_verifier
        fetch = partial(key_endpoint.fetch, library.id_token_verifier.cert_url)
        self.keys: Final = SigningKeys(fetch, clock, self._cache.drop_keys)
        library.request = self._certificates

    def cached(self, token: str, now: float) -> Caller | None:
        """The caller of a token that was verified recently, without I/O. `now` is Unix time."""
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            return None
        return self._cache.get(_digest(token), now)

    async def verify(self, token: str, now: float) -> Caller:
        """The token's caller. Raises Unauthenticated, or AuthenticationUnavailable if it cannot be verified now."""
        caller = self.cached(token, now)
        if caller is not None:
            return caller
        kid = precheck(token, self._project, now, signed=self._signed)
        if self._signed:
            await self._require_key(kid, now)
        digest = _digest(token)
        verification = self._pending.get(digest) or self._begin(digest, kid, token)
        try:
            # Shielded, since other clients may be waiting for the same token.
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(verification)), VERIFY_TIMEOUT_SECONDS)
        except TimeoutError:
            raise _unavailable() from None

    def close(self) -> None:
        """Stop the threads, cancelling verifications that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        firebase_admin.delete_app(self._app)

    async def _require_key(self, kid: str, now: float) -> None:
        """Wait for a fetch of the keys where the token needs one. Raises as `verify`, if its key is not known then."""
        wait = self.keys.prepare(kid, now)
        if wait is not None:
            if self._waiting >= MAX_PENDING:
                raise _unavailable()
            self._waiting += 1
            try:
                fetched = asyncio.shield(asyncio.wrap_future(wait.fetch))
                await asyncio.wait_for(fetched, min(wait.seconds, VERIFY_TIMEOUT_SECONDS))
            except TimeoutError:
                pass
            finally:
                self._waiting -= 1
        if not self.keys.contains(kid):
            # With keys in hand, a token that names another one is refused: an issuer publishes its keys before use.
            raise _unavailable() if self.keys.keys is None else Unauthenticated("the token is not valid")

    def _begin(self, digest: bytes, kid: str, token: str) -> Future[Caller]:
        if len(self._pending) >= MAX_PENDING:
            raise _unavailable()
        verification = self._threads.submit(self._verify_in_thread, digest, kid, token)
        self._pending[digest] = verification
        verification.add_done_callback(lambda _: self._pending.pop(digest, None))
        return verification

    def _verify_in_thread(self, digest: bytes, kid: str, token: str) -> Caller:
        caller = caller_from_claims(_verified_claims(self._app, token))
        self._cache.put(digest, kid, caller, self._clock())
        if self._signed and not self.keys.contains(kid):  # removed meanwhile, perhaps before the caller was cached
            self._cache.drop_keys(frozenset({kid}))
        return caller

    def _certificates(self, *_arguments: object, **_options: object) -> "_Certificates":
        """What the library takes for its fetch of the keys. Called in a thread, and at once."""
        keys = self.keys.keys
        return _Certificates(503, b"") if keys is None else _Certificates(_OK, keys.document)


class _Certificates(NamedTuple):
    """The attributes of an HTTP response that the library reads."""

    status: int
    data: bytes


def check_emulator(environment: Mapping[str, str], emulator: str | None) -> None:
    """Raise ValueError if the library's emulator setting differs from the gateway's configuration.

    The library reads the variable from the environment for each verification, and accepts unsigned tokens while it is
    set: set by mistake, it would let any client act as any user.
    """
    if environment.get(EMULATOR, "") != (emulator or ""):
        raise ValueError(f"{EMULATOR} in the environment differs from the gateway's configuration")


def _app(project: str, certificate: str | None) -> object:
    """A Firebase app separate from any other in this process. Verification needs the project id but no credential."""
    credential = credentials.Certificate(certificate) if certificate else AnonymousCredentials()  # type: ignore[no-untyped-call]
    app: object = firebase_admin.initialize_app(credential, {"projectId": project}, f"gateway-{uuid4().hex}")
    return app


def _verified_claims(app: object, token: str) -> dict[str, object]:
    """The claims of a valid token. Translates all exceptions: the library's messages quote tokens."""
    try:
        claims: dict[str, object] = auth.verify_id_token(token, app=app, clock_skew_seconds=int(CLOCK_SKEW_SECONDS))
    except auth.ExpiredIdTokenError:
        raise Unauthenticated("the token has expired") from None
    except auth.InvalidIdTokenError as error:
        # Any other cause is not the token's fault, such as a key endpoint that returns no keys.
        if error.cause is None or isinstance(error.cause, GoogleAuthError):
            raise Unauthenticated("the token is not valid") from None
        raise _unavailable() from None
    except RecursionError:
        raise Unauthenticated("the token is not valid") from None
    except Exception:  # noqa: BLE001 - keys unreachable or malformed: fail closed, but do not blame the token
        raise _unavailable() from None
    return claims


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("tokens cannot be verified at the moment", retry_after=RETRY_SECONDS)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
