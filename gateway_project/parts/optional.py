"""Parts whose modules are imported only if the environment configures them: tracing and Firebase."""

import time
from typing import TYPE_CHECKING

from gateway_project.config import Config
from routing.authentication.caller_cache import CallerCache

if TYPE_CHECKING:
    from metrics.tracing import SpanSender
    from routing.authentication.firebase import FirebaseVerifier


def open_tracer(config: Config) -> "SpanSender | None":
    if config.traces is None:
        return None
    from metrics.tracing import over_http  # noqa: PLC0415 - an optional dependency, checked by config.py

    return over_http(config.traces.endpoint, config.traces.resource, config.traces.max_waiting)


def open_firebase(config: Config, cache: CallerCache) -> "FirebaseVerifier | None":
    if config.firebase.project is None:
        return None
    from routing.authentication.firebase import FirebaseVerifier  # noqa: PLC0415 - importing it takes a third of a second

    return FirebaseVerifier(
        config.firebase.project,
        clock=time.time,
        certificate=str(config.firebase.credentials) if config.firebase.credentials else None,
        emulator=config.firebase.emulator,
        cache=cache,
        check_revoked=config.firebase.check_revoked,
    )
