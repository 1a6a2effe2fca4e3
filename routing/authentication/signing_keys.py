"""The issuer's signing keys: the last ones fetched, and when they are fetched again.

Keys that were fetched once continue to be used while their endpoint is down, slow or returns rubbish, each until its
certificate ends. A request is never delayed for a key that is known, except for a moment by the first fetch after the
keys' max-age has passed.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Final, NamedTuple

import msgspec

from routing.authentication.key_endpoint import FETCH_SECONDS, Cause, FetchedKeys, KeyFetchFailed

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 2.0
"""The time between two fetches while they fail."""
UNKNOWN_SECONDS: Final = 30.0
"""Between two fetches that unknown key ids cause, and between two that wrong signatures do: anybody can send either."""
EARLY_SHARE: Final = 0.9
"""The share of the keys' max-age after which a request begins a fetch in the background."""
STALE_WAIT_SECONDS: Final = 0.5
"""How long a known key waits for the first fetch after the max-age, which may remove it."""
OVERDUE_SECONDS: Final = 2 * FETCH_SECONDS
"""After it, a fetch that has not ended is given up and another one may begin."""
MAX_FETCHES: Final = 2
"""The most fetches in progress, including those that were given up."""


class KeySet(msgspec.Struct, frozen=True):
    """The keys of one response. Times in Unix time."""

    fetched: FetchedKeys
    requested_at: float

    def contains(self, kid: str, now: float) -> bool:
        """Whether the key may be used now. The certificate's end counts only once the keys are no longer fresh."""
        return kid in self.fetched.certificates and (self.is_fresh(now) or now < self.fetched.expiries[kid])

    def is_fresh(self, now: float, share: float = 1.0) -> bool:
        return _within(now, self.requested_at, self.fetched.seconds * share)


class Wait(NamedTuple):
    """A fetch to wait for, and for how many seconds."""

    fetch: Future[None]
    seconds: float


class _Fetch(NamedTuple):
    done: Future[None]
    started: float
    number: int
    cause: Cause


class SigningKeys:
    """`fetch` blocks and raises KeyFetchFailed; it is called in a thread. `on_removed` gets ids that are gone, and
    ids whose keys have changed. `whose` names the keys in the log.

    Used by the event loop and by threads; no method blocks.
    """

    def __init__(
        self,
        fetch: Callable[[Cause], FetchedKeys],
        clock: Callable[[], float],
        on_removed: Callable[[frozenset[str]], None],
        whose: str = "ID tokens",
    ) -> None:
        self._fetch: Final = fetch
        self._clock: Final = clock
        self._on_removed: Final = on_removed
        self._whose: Final = whose
        self._lock: Final = Lock()
        self._keys: KeySet | None = None
        self._current: _Fetch | None = None
        self._running = 0
        self._begun = 0
        self._applied = 0
        """The number of the fetch that the keys are from."""
        self._reason = ""
        """Why the last fetch failed."""
        self._failed_at: float | None = None
        """When the last fetch failed; None after one that succeeded."""
        self._asked_at: dict[Cause, float] = {}
        """When a token last caused a fetch, by the cause."""

    @property
    def keys(self) -> KeySet | None:
        return self._keys

    @property
    def fault(self) -> str | None:
        """Why the keys are not current, for an operator; None if they are, or if nobody needed newer ones."""
        keys, now = self._keys, self._clock()
        if self._failed_at is None or (keys is not None and keys.is_fresh(now)):
            return None
        if keys is None:
            return f"the signing keys cannot be fetched ({self._reason})"
        overdue = max(0, int(now - keys.requested_at - keys.fetched.seconds))
        in_use = f"the last ones are in use, {overdue} s past their max-age"
        return f"the signing keys cannot be fetched ({self._reason}); {in_use}"

    def contains(self, kid: str) -> bool:
        """Whether the key is known and may be used now."""
        return self._keys is not None and self._keys.contains(kid, self._clock())

    def prepare(self, kid: str, arrived: float) -> Wait | None:
        """Begin the fetch that a token with this key id needs, if one is due. None: verify it with the present keys.

        `arrived` is when the token came.
        """
        now = self._clock()
        with self._lock:
            keys, fetch = self._keys, self._running_fetch(now)
            if keys is not None and keys.contains(kid, now):
                return self._refresh(keys, now)
            if fetch is None:  # stale keys are due whichever token comes
                current = keys if keys is not None and keys.is_fresh(now) else None
                fetch = self._retry(now) if current is None else self._ask(Cause.UNKNOWN_ID, current, arrived, now)
            return self._wait(fetch, now, FETCH_SECONDS)

    def prepare_newer(self, arrived: float) -> Wait | None:
        """Begin the fetch that a token needs whose signature is of none of the keys, if one is due: its issuer may have
        replaced a key and kept its id, or name no ids. `arrived` is when the token came.

        Its interval is its own, so that no wrong signature delays the fetch for an unknown id, which every rotation is.
        """
        now = self._clock()
        with self._lock:
            fetch = self._running_fetch(now)
            if fetch is None and self._keys is not None:
                fetch = self._ask(Cause.WRONG_SIGNATURE, self._keys, arrived, now)
            return self._wait(fetch, now, FETCH_SECONDS)

    def _refresh(self, keys: KeySet, now: float) -> Wait | None:
        """Fetch known keys again that are stale or nearly so, or whose last fetch failed; the lock is held."""
        failed, stale = self._failed_at is not None, not keys.is_fresh(now)
        if not failed and keys.is_fresh(now, EARLY_SHARE):
            return None
        fetch = self._running_fetch(now) or self._retry(now, RETRY_SECONDS if stale else UNKNOWN_SECONDS)
        return self._wait(fetch, now, STALE_WAIT_SECONDS) if stale and not failed else None

    def _wait(self, fetch: _Fetch | None, now: float, seconds: float) -> Wait | None:
        """Counted from the fetch's start: the callers of a hanging endpoint do not wait one after the other."""
        left = 0.0 if fetch is None else fetch.started + seconds - now
        return Wait(fetch.done, min(left, seconds)) if fetch is not None and left > 0 else None

    def _running_fetch(self, now: float) -> _Fetch | None:
        fetch = self._current
        return fetch if fetch is not None and _within(now, fetch.started, OVERDUE_SECONDS) else None

    def _retry(self, now: float, seconds: float = RETRY_SECONDS) -> _Fetch | None:
        failed = self._failed_at
        return None if failed is not None and _within(now, failed, seconds) else self._begin(now)

    def _ask(self, cause: Cause, keys: KeySet, arrived: float, now: float) -> _Fetch | None:
        """The fetch for a token that the keys do not match; None if they are no older than the token, or if one was
        begun for such a token lately.
        """
        last = self._asked_at.get(cause)
        if arrived <= keys.requested_at <= now or (last is not None and _within(now, last, UNKNOWN_SECONDS)):
            return None
        fetch = self._begin(now, cause)
        if fetch is not None:
            self._asked_at[cause] = now
        return fetch

    def _begin(self, now: float, cause: Cause = Cause.REFRESH) -> _Fetch | None:
        if self._running >= MAX_FETCHES:
            return None
        self._running += 1
        self._begun += 1
        fetch = self._current = _Fetch(Future(), now, self._begun, cause)
        fetch.done.set_running_or_notify_cancel()  # from now on nobody who waits for it can cancel it
        # A daemon: a hanging endpoint does not delay the end of the process.
        Thread(target=self._run, args=(fetch,), name="signing-keys", daemon=True).start()
        return fetch

    def _run(self, fetch: _Fetch) -> None:
        """Runs in a thread of its own, and always ends the fetch."""
        try:
            fetched = self._fetch(fetch.cause)
        except KeyFetchFailed as error:
            self._failed(fetch, str(error))
        except Exception as error:  # noqa: BLE001 - whatever the client raises: the last keys continue to be used
            self._failed(fetch, type(error).__name__)
        else:
            self._succeeded(fetch, fetched)
            if fetched.fault:
                self._failed(fetch, fetched.fault)
        finally:
            with self._lock:
                self._running -= 1
                if self._current is fetch:
                    self._current = None
            fetch.done.set_result(None)

    def _succeeded(self, fetch: _Fetch, fetched: FetchedKeys) -> None:
        keys = KeySet(fetched, fetch.started if fetched.requested_at is None else fetched.requested_at)
        with self._lock:
            if fetch.number < self._applied:
                return  # given up, and overtaken by a later one
            before, self._keys, self._applied = self._keys, keys, fetch.number
            if fetched.asked_at is not None:  # another worker has begun the interval
                self._asked_at[fetch.cause] = min(self._asked_at.get(fetch.cause, fetched.asked_at), fetched.asked_at)
            recovered = self._failed_at is not None and not fetched.fault
            self._failed_at = None if not fetched.fault else self._failed_at
        if recovered:
            log.warning("the signing keys of %s were fetched again", self._whose)
        earlier = {} if before is None else before.fetched.certificates
        removed = frozenset(kid for kid, key in earlier.items() if fetched.certificates.get(kid) != key)
        if removed:
            self._on_removed(removed)

    def _failed(self, fetch: _Fetch, reason: str) -> None:
        with self._lock:
            if fetch.number < self._applied:
                return
            first, self._failed_at = self._failed_at is None, self._clock()
            self._reason = reason
            known = self._keys is not None
        if first:
            effect = "the last ones continue to be used" if known else "no token can be verified"
            log.error("the signing keys of %s could not be fetched (%s): %s", self._whose, reason, effect)


def _within(now: float, since: float, seconds: float) -> bool:
    """False also if the clock was set back: what depends on it is due."""
    return 0 <= now - since < seconds
