"""What an operator looks for in the log first: circuits that moved, and targets that are out or back."""

import logging
from typing import Final

from routing.observability.events import BackendEvent, BackendEventKind, Observer

log = logging.getLogger(__name__)

TOLD: Final = {
    BackendEventKind.EJECTED: "left out by this worker",
    BackendEventKind.RETURNED: "taken in again by this worker",
    BackendEventKind.DOWN: "down for all",
    BackendEventKind.UP: "up for all",
}
"""Of what happens with each request, its own line in the access log tells."""


class EventLog(Observer):
    """An Observer that writes a line for each."""

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        log.warning("the circuit of %s: %s -> %s: %r", service, before, after, reason)

    def backend_event(self, event: BackendEvent) -> None:
        if event.kind in TOLD:
            log.warning("the target %s of %s is %s: %s", event.target, event.service, TOLD[event.kind], event.detail)
