"""Log lines for operators: circuit transitions, and targets that leave or return to the rotation."""

import logging
from typing import Final

from routing.observability.events import BackendEvent, BackendEventKind, Observer

log = logging.getLogger(__name__)

LOGGED: Final = {
    BackendEventKind.EJECTED: "ejected by this worker",
    BackendEventKind.RETURNED: "returned to rotation by this worker",
    BackendEventKind.DOWN: "marked down",
    BackendEventKind.UP: "marked up",
}
"""Events of a single request are left out: its line in the access log has them."""


class EventLog(Observer):
    """An Observer that logs circuit transitions and the events in LOGGED."""

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        log.warning("the circuit of %s: %s -> %s: %r", service, before, after, reason)

    def backend_event(self, event: BackendEvent) -> None:
        if event.kind in LOGGED:
            log.warning("the target %s of %s is %s: %s", event.target, event.service, LOGGED[event.kind], event.detail)
