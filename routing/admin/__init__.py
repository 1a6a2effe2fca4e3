"""Admin pages for services, targets, API keys and signing keys."""

from routing.admin import keys, services, signing_keys

__all__ = ["keys", "services", "signing_keys"]
