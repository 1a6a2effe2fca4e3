"""Firebase ID tokens, verified by firebase-admin in a few threads and cached for a while.

The only module that imports firebase_admin; `_verified_claims` translates its exceptions. Its threads do no I/O: the
library reads the keys that `SigningKeys` fetched.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

import firebase_admin
from firebase_admin import auth, credentials, tenant_mgt
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError

from routing.authentication import key_endpoint
from routing.authentication.caller_cache import CallerCache, digest_of
from routing.authentication.id_token import CLOCK_SKEW_SECONDS, ISSUER, caller_from_claims, precheck
from routing.authentication.key_waits import KeyWaits, unavailable
from routing.authentication.signing_keys import SigningKeys
from routing.authentication.user_states import CHECK_SECONDS, User, UserState, UserStates
from routing.caller import Caller
from routing.errors import InvalidToken

EMULATOR: Final = "FIREBASE_AUTH_EMULATOR_HOST"
THREADS: Final = 2
"""Threads for verifications, each of which takes a millisecond of processor time."""
MAX_PENDING: Final = 256
"""The most tokens that are being verified. Beyond that, verification is unavailable."""
VERIFY_TIMEOUT_SECONDS: Final = 6.0
"""The time limit of one verification, its time in the queue included."""
LOOKUP_TIMEOUT_SECONDS: Final = 4
"""The time limit of each of the library's requests about a user."""
_OK: Final = 200


class FirebaseVerifier:
    """Verifies tokens. `project` is the Firebase project's id, `certificate` a service account's file.

    `emulator` is the address of an emulator whose unsigned tokens are accepted, for development only.
    `check_revoked`: look users up, whether they are disabled or their tokens revoked; this needs a service account.
    """

    def __init__(
        self,
        project: str,
        *,
        clock: Callable[[], float],
        certificate: str | None = None,
        emulator: str | None = None,
        cache: CallerCache | None = None,
        check_revoked: bool = False,
    ) -> None:
        if not project:
            raise ValueError("Firebase needs a project id")
        # As the library reads it: with an emulator it verifies no signatures.
        check_emulator({EMULATOR: auth._auth_utils.get_emulator_host()}, emulator)
        self._project: Final = project
        self.issuer: Final = ISSUER + project
        """The `iss` of the project's tokens."""
        self._clock: Final = clock
        self._signed: Final = emulator is None
        self._app: Final = _app(project, certificate)
        self._threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="firebase")
        self._cache: Final = cache or CallerCache()
        self._waits: Final = KeyWaits()
        self._pending: Final[dict[bytes, Future[_Verified]]] = {}
        self._users: Final = UserStates(partial(_user_state, self._app), clock) if check_revoked else None
        library = auth._get_client(self._app)._token_verifier
        fetch = partial(key_endpoint.fetch, library.id_token_verifier.cert_url)
        self.keys: Final = SigningKeys(lambda _cause: fetch(), clock, self._cache.drop_keys)
        library.request = self._certificates

    def cached(self, token: str, now: float) -> Caller | None:
        """The caller of a token that was verified recently, without I/O. `now` is Unix time."""
        return self._cache.find(token, now)

    async def verify(self, token: str, now: float) -> Caller:
        """The token's caller. Raises InvalidToken, or AuthenticationUnavailable if it cannot be verified now."""
        caller = self.cached(token, now)
        if caller is not None:
            return caller
        kid = precheck(token, self._project, now, signed=self._signed)
        if self._signed:
            await self._require_key(kid, now)
        digest = digest_of(token)
        verification = self._pending.get(digest) or self._begin(digest, kid, token)
        try:
            # Shielded, since other clients may be waiting for the same token.
            verified = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(verification)), VERIFY_TIMEOUT_SECONDS)
        except TimeoutError:
            raise unavailable() from None
        if self._users is not None:
            await self._users.check(verified.user, verified.issued_at)
            self._keep(digest, kid, verified.caller)
        return verified.caller

    def close(self) -> None:
        """Stop the threads, cancelling verifications that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._users is not None:
            self._users.close()
        firebase_admin.delete_app(self._app)

    async def _require_key(self, kid: str, now: float) -> None:
        """Raises as `verify`, if the token's key is not known after the wait for it."""
        if not await self._waits.require(self.keys, kid, now):
            raise InvalidToken("the token is not valid")

    def _begin(self, digest: bytes, kid: str, token: str) -> "Future[_Verified]":
        if len(self._pending) >= MAX_PENDING:
            raise unavailable()
        verification = self._threads.submit(self._verify_in_thread, digest, kid, token)
        self._pending[digest] = verification
        verification.add_done_callback(lambda _: self._pending.pop(digest, None))
        return verification

    def _verify_in_thread(self, digest: bytes, kid: str, token: str) -> "_Verified":
        verified = _verified(_verified_claims(self._app, token))
        if self._users is None:
            self._keep(digest, kid, verified.caller)
        return verified

    def _keep(self, digest: bytes, kid: str, caller: Caller) -> None:
        """Cache the caller. If users are looked up, only for as long as a lookup is valid, so that the token is then
        checked again.
        """
        self._cache.put(digest, kid, caller, self._clock(), None if self._users is None else CHECK_SECONDS)
        if self._signed and not self.keys.contains(kid):  # removed meanwhile, perhaps before the caller was cached
            self._cache.drop_keys(frozenset({kid}))

    def _certificates(self, *_arguments: object, **_options: object) -> "_Certificates":
        """What the library takes for its fetch of the keys. Called in a thread, and at once."""
        keys = self.keys.keys
        return (
            _Certificates(503, b"")
            if keys is None
            else _Certificates(_OK, json.dumps(keys.fetched.certificates).encode())
        )


class _Verified(NamedTuple):
    """What a valid token says. `issued_at` is Unix time."""

    caller: Caller
    user: User
    issued_at: float


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
    credential = credentials.Certificate(certificate) if certificate else AnonymousCredentials()  # type: ignore[no-untyped-call] # the library has no types
    options = {"projectId": project, "httpTimeout": LOOKUP_TIMEOUT_SECONDS}
    app: object = firebase_admin.initialize_app(credential, options, f"gateway-{uuid4().hex}")
    return app


def _user_state(app: object, user: User) -> UserState:
    """Raises the library's exceptions if the provider is away, or refuses the service account."""
    try:
        found = tenant_mgt.auth_for_tenant(user.tenant, app).get_user(user.uid) if user.tenant else None
        found = found or auth.get_user(user.uid, app)
    except auth.UserNotFoundError:
        return UserState(exists=False)
    return UserState(disabled=bool(found.disabled), valid_after=found.tokens_valid_after_timestamp / 1_000)


def _verified(claims: Mapping[str, object]) -> _Verified:
    """Raises InvalidToken."""
    caller, issued_at = caller_from_claims(claims), claims.get("iat")
    user = User(str(claims["sub"]), caller.tenant)
    return _Verified(caller, user, float(issued_at) if isinstance(issued_at, int | float) else 0.0)


def _verified_claims(app: object, token: str) -> dict[str, object]:
    """The claims of a valid token. Translates all exceptions: the library's messages quote tokens."""
    try:
        claims: dict[str, object] = auth.verify_id_token(token, app=app, clock_skew_seconds=int(CLOCK_SKEW_SECONDS))
    except auth.ExpiredIdTokenError:
        raise InvalidToken("the token has expired") from None
    except auth.InvalidIdTokenError as error:
        # Any other cause is not the token's fault, such as a key endpoint that returns no keys.
        if error.cause is None or isinstance(error.cause, GoogleAuthError):
            raise InvalidToken("the token is not valid") from None
        raise unavailable() from None
    except RecursionError:
        raise InvalidToken("the token is not valid") from None
    except Exception:  # noqa: BLE001 - keys unreachable or malformed: fail closed, but do not blame the token
        raise unavailable() from None
    return claims
