"""The cookies of Django's pages, which backends neither receive nor set where browsers may have them."""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage


def own_cookies() -> frozenset[bytes]:
    """The names. Browsers may have a cookie of messages although they are in the session."""
    names = (
        settings.SESSION_COOKIE_NAME,
        settings.CSRF_COOKIE_NAME,
        settings.LANGUAGE_COOKIE_NAME,
        CookieStorage.cookie_name,
        settings.CONFIG.connect_cookie,
    )
    return frozenset(name.encode() for name in names)


def have_domain() -> bool:
    """Whether browsers send any of them to other hosts of a domain, as a Django project may want it."""
    return any((settings.SESSION_COOKIE_DOMAIN, settings.CSRF_COOKIE_DOMAIN, settings.LANGUAGE_COOKIE_DOMAIN))
