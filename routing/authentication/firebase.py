"""Firebase ID tokens, verified by firebase-admin in a few threads and remembered for a while.

The only module that imports firebase_admin: what it raises ends at `_checked`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from threading import Lock
from typing import Final
from uuid import uuid4

import firebase_admin
from firebase_admin import auth, credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError

from routing.authentication.id_token import MAX_TOKEN_LENGTH, SKEW, caller_of, screen
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, Unauthenticated

EMULATOR: Final = "FIREBASE_AUTH_EMULATOR_HOST"
THREADS: Final = 2
"""A verification is a millisecond of arithmetic; only fetching Google's keys, every few hours, waits."""
QUEUE: Final = 256
"""Tokens being verified or waiting for a thread. Over it a newcomer is turned away, not kept waiting."""
HTTP_TIMEOUT: Final = 5.0
DEADLINE: Final = 6.0
"""Seconds for one verification, its turn included: a name or an address that hangs costs no more."""
PAUSE: Final = 2.0
"""Seconds without another try after the keys could not be fetched."""
REMEMBERED: Final = 10_000
REMEMBERED_FOR: Final = 300.0


class _Memory:
    """Callers by their token's digest, least recently used out first. Threads write, the event loop reads."""

    def __init__(self) -> None:
        self._entries: Final[OrderedDict[bytes, tuple[Caller, float]]] = OrderedDict()
        self._lock: Final = Lock()

    def find(self, digest: bytes, now: float) -> Caller | None:
        with self._lock:
            caller, until = self._entries.get(digest, (None, 0.0))
            if caller is None:
                return None
            if until <= now:
                del self._entries[digest]
                return None
            self._entries.move_to_end(digest)
            return caller

    def keep(self, digest: bytes, caller: Caller, now: float) -> None:
        until = now + REMEMBERED_FOR if caller.expires is None else min(caller.expires, now + REMEMBERED_FOR)
        with self._lock:
            self._entries[digest] = (caller, until)
            self._entries.move_to_end(digest)
            if len(self._entries) > REMEMBERED:
                self._entries.popitem(last=False)


class FirebaseVerifier:
    """Tells whose a token is. `project` is the Firebase project's id, `certificate` a service account's file.

    `emulator` is the address of an emulator whose unsigned tokens are taken: for development alone.
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
        # What the library itself sees, whoever set it: with an emulator it checks no signature.
        check_emulator({EMULATOR: auth._auth_utils.get_emulator_host()}, emulator)
        self._project: Final = project
        self._clock: Final = clock
        self._signed: Final = emulator is None
        self._app: Final = _app(project, certificate)
        self._threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="firebase")
        self._memory: Final = _Memory()
        self._pending: Final[dict[bytes, Future[Caller]]] = {}
        self._paused_until = 0.0

    def cached(self, token: str, now: float) -> Caller | None:
        """The caller of a token verified lately: no I/O, so that a limiter may ask. `now` is Unix time."""
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            return None
        return self._memory.find(_digest(token), now)

    async def verify(self, token: str, now: float) -> Caller:
        """The token's caller. Raises Unauthenticated, or AuthenticationUnavailable when we cannot tell."""
        caller = self.cached(token, now)
        if caller is not None:
            return caller
        screen(token, self._project, now, signed=self._signed)
        digest = _digest(token)
        verification = self._pending.get(digest) or self._begin(digest, token)
        try:
            # Shielded: one client going away takes nothing from the others who wait for the same token.
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(verification)), DEADLINE)
        except TimeoutError:
            self._pause()
            raise _unavailable() from None

    def close(self) -> None:
        """Stop the threads; what waits for one is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        firebase_admin.delete_app(self._app)

    def _begin(self, digest: bytes, token: str) -> Future[Caller]:
        if len(self._pending) >= QUEUE:
            raise _unavailable()
        verification = self._threads.submit(self._verified, digest, token)
        self._pending[digest] = verification
        verification.add_done_callback(lambda _: self._pending.pop(digest, None))
        return verification

    def _verified(self, digest: bytes, token: str) -> Caller:
        """In a thread. While the keys are out of reach the queue drains at once instead of waiting in turn."""
        if self._clock() < self._paused_until:
            raise _unavailable()
        try:
            caller = caller_of(_checked(self._app, token))
        except AuthenticationUnavailable:
            self._pause()
            raise
        self._memory.keep(digest, caller, self._clock())
        return caller

    def _pause(self) -> None:
        self._paused_until = self._clock() + PAUSE


def check_emulator(environment: Mapping[str, str], emulator: str | None) -> None:
    """Raise ValueError unless the library will do as configured.

    It reads the variable from the process's environment each time it verifies, and while it is set takes
    unsigned tokens: set without our leave, it would let anyone in as anybody.
    """
    if environment.get(EMULATOR, "") != (emulator or ""):
        raise ValueError(f"{EMULATOR} in the environment is not what the gateway was allowed to use")


def _app(project: str, certificate: str | None) -> object:
    """An app of our own beside any other in this process. Verifying needs the project's id and no credential."""
    credential = credentials.Certificate(certificate) if certificate else AnonymousCredentials()  # type: ignore[no-untyped-call]
    options = {"projectId": project, "httpTimeout": HTTP_TIMEOUT}
    app: object = firebase_admin.initialize_app(credential, options, f"gateway-{uuid4().hex}")
    return app


def _checked(app: object, token: str) -> dict[str, object]:
    """The claims of a good token. The border: the library's messages quote tokens, so none goes further."""
    try:
        claims: dict[str, object] = auth.verify_id_token(token, app=app, clock_skew_seconds=int(SKEW))
    except auth.ExpiredIdTokenError:
        raise Unauthenticated("the token has expired") from None
    except auth.InvalidIdTokenError as error:
        # Any other cause is not the token's fault: the endpoint answered with something that is no key.
        if error.cause is None or isinstance(error.cause, GoogleAuthError):
            raise Unauthenticated("the token is not valid") from None
        raise _unavailable() from None
    except RecursionError:
        raise Unauthenticated("the token is not valid") from None
    except Exception:  # noqa: BLE001 - keys out of reach or in an unknown form: closed, and never the token's fault
        raise _unavailable() from None
    return claims


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("tokens cannot be verified now", retry_after=PAUSE)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
