"""Events for observers: delivered synchronously and in memory, never awaited on the request path."""

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from resilience.holdoff.rules import HoldOff
from resilience.partition import Partition
from routing.consumers.subscription import Subscription

log = logging.getLogger(__name__)


class RequestFinished(msgspec.Struct, frozen=True):
    """A request that has finished, including its response body. Durations are seconds, `at` is Unix time.

    `cache` is the value of X-Cache, empty if the cache was not reached. `code` is the error code of the gateway's own
    error response. `aborted` is why the body ended early. `call` is the error code of a backend call that failed, even
    if a cached or fallback response was sent. `retries` counts calls after the first; `target` is the address of the
    last one, and `reason` why it failed, such as "certificate: expired": for operators only. `fallback` is the other
    service that responded in place of this one; `backend` and `target` are then of its call. `outcome` is the class
    of the backend's response, empty if it has none.
    """

    at: float
    request_id: str
    method: str
    path: str
    status: int
    duration: float
    backend: float | None = None
    service: str = ""
    route: str = ""
    caller: str = ""
    client: str = ""
    cache: str = ""
    code: str = ""
    circuit: str = ""
    bytes: int = 0
    aborted: str = ""
    call: str = ""
    retries: int = 0
    target: str = ""
    reason: str = ""
    fallback: str = ""
    outcome: str = ""


class BackendEventKind(StrEnum):
    """What can happen to a backend or a target, apart from circuit transitions."""

    RETRIED = "retried"
    REFUSED = "refused"
    EJECTED = "ejected"
    RETURNED = "returned"
    DOWN = "down"
    UP = "up"
    REPLAYED = "replayed"
    CREDENTIAL_REFRESHED = "credential_refreshed"
    CREDENTIAL_FAILED = "credential_failed"
    CREDENTIAL_REJECTED = "credential_rejected"
    WATCH_RENEWED = "watch_renewed"
    WATCH_FAILED = "watch_failed"


class BackendEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a service or of one of its targets; `target` is an address, for operators only.

    RETRIED: a call is retried, `detail` is the reason. REFUSED: no call was made, `detail` is the error code.
    EJECTED and RETURNED: this worker ejects a failing target, and uses it again. DOWN and UP: the cluster's health
    verdict, emitted by the worker that runs the health checks. REPLAYED: the stored response to a write was sent again.
    CREDENTIAL_REFRESHED and CREDENTIAL_FAILED: this worker has requested an access token for the backend; `detail` is
    the code of the failure. CREDENTIAL_REJECTED: the backend does not accept the gateway's own credential.
    WATCH_RENEWED and WATCH_FAILED: this worker has renewed a webhook's subscription at the backend, or could not;
    `target` is the webhook and what it watches.
    """

    kind: BackendEventKind
    service: str
    target: str = ""
    detail: str = ""


EventSink = Callable[[BackendEvent], None]
"""Takes events as they happen: `Observers.backend_event`."""


class Refetched(msgspec.Struct, frozen=True):
    """A response was fetched again once an earlier one had expired, `interval` seconds after that one. `changed`: its
    body differs. `by_policy`: it is fresh for as long as the cache policy's `ttl` says, not the backend.
    """

    service: str
    route: str
    interval: float
    changed: bool
    by_policy: bool


class QuotaEvent(msgspec.Struct, frozen=True):
    """A quota has reached `percent` of `limit`: 80 or 100. `quota` is whose it is, and which, such as
    `consumer:12|plan|month`. `ends` is Unix time.
    """

    quota: str
    percent: int
    used: int
    limit: int
    ends: int


class Observer:
    """Base class of observers; override the methods of interest. Exceptions they raise are logged."""

    def finished(self, event: RequestFinished) -> None:
        """A request has finished."""

    def failed(self, subscription: Subscription, event: RequestFinished) -> None:
        """A request of a consumer, with this subscription, has finished with an error or before its response was sent
        whole. Called after `finished`.
        """

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        """A circuit changed state; called only in the worker that changed it."""

    def hold_off_changed(self, service: str, until: float | None, calls: str) -> None:
        """A hold-off began or was extended, until then (Unix seconds), or was lifted (None); called only in the worker
        that found it out. `calls` are those it covers, for operators only.
        """

    def backend_event(self, event: BackendEvent) -> None:
        """Any other event of a backend."""

    def quota_reached(self, event: QuotaEvent) -> None:
        """A consumer's quota has reached a threshold; called once in the cluster for each period."""

    def refetched(self, event: Refetched) -> None:
        """A stored response was fetched again. Which earlier one it is compared with is this worker's knowledge."""


class Observers:
    """Notifies several observers; an exception in one affects neither the others nor the request."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        # Only overridden methods are called, so that an observer costs nothing for events it does not handle.
        self._finished = [each.finished for each in observers if type(each).finished is not Observer.finished]
        self._failed = [each.failed for each in observers if type(each).failed is not Observer.failed]
        self._refetched = [each.refetched for each in observers if type(each).refetched is not Observer.refetched]
        self._backend_event = [
            each.backend_event for each in observers if type(each).backend_event is not Observer.backend_event
        ]

    def finished(self, event: RequestFinished) -> None:
        for finished in self._finished:
            try:
                finished(event)
            except Exception:
                log.exception("an observer failed on an event")

    def failed(self, subscription: Subscription, event: RequestFinished) -> None:
        for failed in self._failed:
            try:
                failed(subscription, event)
            except Exception:
                log.exception("an observer failed on an event")

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        for observer in self._observers:
            try:
                observer.circuit_changed(service, before, after, reason)
            except Exception:
                log.exception("an observer failed on an event")

    def hold_off_changed(self, partition: Partition, hold_off: HoldOff | None) -> None:
        until = None if hold_off is None else hold_off.until
        for observer in self._observers:
            try:
                observer.hold_off_changed(partition.service, until, str(partition))
            except Exception:
                log.exception("an observer failed on an event")

    def backend_event(self, event: BackendEvent) -> None:
        for backend_event in self._backend_event:
            try:
                backend_event(event)
            except Exception:
                log.exception("an observer failed on an event")

    def quota_reached(self, event: QuotaEvent) -> None:
        for observer in self._observers:
            try:
                observer.quota_reached(event)
            except Exception:
                log.exception("an observer failed on an event")

    @property
    def observes_refetches(self) -> bool:
        return bool(self._refetched)

    def refetched(self, event: Refetched) -> None:
        for refetched in self._refetched:
            try:
                refetched(event)
            except Exception:
                log.exception("an observer failed on an event")
