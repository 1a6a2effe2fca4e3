"""Admin pages for operations: circuits, cache, credentials, history, audit log, explain, watches and users."""

from metrics.admin import (
    audit_log,
    cache,
    circuits,
    consumers,
    credentials,
    history,
    issuers,
    portal,
    revocations,
    targets,
    users,
    watches,
    webhooks,
)

__all__ = [
    "audit_log",
    "cache",
    "circuits",
    "consumers",
    "credentials",
    "history",
    "issuers",
    "portal",
    "revocations",
    "targets",
    "users",
    "watches",
    "webhooks",
]
