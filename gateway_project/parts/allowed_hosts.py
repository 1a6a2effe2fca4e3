"""The hosts that Django's pages are served for, and so `/api/v1`."""

from typing import Final

from django.conf import settings

DEBUG: Final = (".localhost", "127.0.0.1", "[::1]")
"""What Django allows under DEBUG if the setting is empty."""


def allowed_hosts() -> tuple[str, ...]:
    return tuple(settings.ALLOWED_HOSTS or (DEBUG if settings.DEBUG else ()))
