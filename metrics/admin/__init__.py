"""Admin pages for operations: circuits, cache, credentials, history, audit log, explain, watches and users."""

from metrics.admin import (
    alerts,
    audit_log,
    cache,
    circuits,
    consumers,
    credentials,
    history,
    issuers,
    proposals,
    revocations,
    service_roles,
    targets,
    watches,
    webhooks,
)
from routing.pages.site import is_included

__all__ = [
    "alerts",
    "audit_log",
    "cache",
    "circuits",
    "consumers",
    "credentials",
    "history",
    "issuers",
    "proposals",
    "revocations",
    "service_roles",
    "targets",
    "watches",
    "webhooks",
]

if not is_included():  # another team's project has its own pages of users, and no portal
    from metrics.admin import portal, users

    __all__ += ["portal", "users"]
