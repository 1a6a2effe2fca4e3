"""Log lines for operators: circuit transitions, hold-offs, failed credentials and watches, and changes of targets."""

import logging
from datetime import UTC, datetime
from typing import Final

from resilience.throttled_log import ThrottledLog
from routing.observability.events import BackendEvent, BackendEventKind, Observer, QuotaEvent

log = logging.getLogger(__name__)

LOGGED: Final = {
    BackendEventKind.EJECTED: "ejected by this worker",
    BackendEventKind.RETURNED: "returned to rotation by this worker",
    BackendEventKind.DOWN: "marked down",
    BackendEventKind.UP: "marked up",
}
"""Events of a single request are left out: its line in the access log has them."""


class EventLog(Observer):
    """An Observer that logs circuit transitions, hold-offs, failed watches and the events in LOGGED. A rejected
    credential is logged at most once a minute for each service: all calls with it may be rejected.
    """

    def __init__(self) -> None:
        self._rejected = ThrottledLog(log)

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        log.warning("the circuit of %s: %s -> %s: %r", service, before, after, reason)

    def hold_off_changed(self, service: str, until: float | None, calls: str) -> None:
        if until is None:
            log.warning("calls to %s are made again: %s", service, calls)
        else:
            end = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
            log.warning("no calls to %s are made until %s, as it demands: %s", service, end, calls)

    def quota_reached(self, event: QuotaEvent) -> None:
        log.warning("the quota %s has reached %d %%: %d of %d", event.quota, event.percent, event.used, event.limit)

    def backend_event(self, event: BackendEvent) -> None:
        if event.kind is BackendEventKind.CREDENTIAL_REJECTED:
            self._rejected.warning(f"{event.service} does not accept the gateway's credential", event.detail)
        elif event.kind is BackendEventKind.CREDENTIAL_FAILED:
            log.warning("no access token was obtained for %s: %s", event.service, event.detail)
        elif event.kind is BackendEventKind.WATCH_FAILED:
            log.warning("the watch of %s at %s was not renewed: %s", event.target, event.service, event.detail)
        elif event.kind in LOGGED:
            log.warning("the target %s of %s is %s: %s", event.target, event.service, LOGGED[event.kind], event.detail)
