"""Admin pages for services, targets, routes, API keys and signing keys."""

from routing.admin import keys, routes, services, signing_keys, targets

__all__ = ["keys", "routes", "services", "signing_keys", "targets"]
