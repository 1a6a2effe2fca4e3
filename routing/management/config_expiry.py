"""Certificates of a configuration file that have expired."""

import time
from collections.abc import Set

from django.conf import settings

from routing.configuration.document import Document
from routing.configuration.faults import ConfigurationError, UnresolvedSecret
from routing.configuration.tls_expiry import expired
from routing.database import masking


def check_expiry(document: Document, only: Set[str] | None = None) -> None:
    """Raise ConfigurationError for those of these services, None for all, as far as they can be read here."""
    services = masking.unmasked(document).services(_secret, is_part=True)
    selected = (service for service in services if only is None or service.name in only)
    faults = document.located(expired(selected, time.time()))
    if faults:
        raise ConfigurationError(faults)


def _secret(name: str) -> str:
    try:
        value: str | None = settings.CONFIG.secret(name)
    except UnresolvedSecret:
        return ""
    return value or ""
