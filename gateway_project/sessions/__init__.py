"""Session engines for staff's pages. `SALT` and `KEY_PREFIX` have COOKIE_PREFIX in them: browsers send the cookie of a
former prefix to backends, so no session of it may be loaded.
"""

from typing import Final

from django.conf import settings

SALT: Final = f"django.contrib.sessions.{settings.CONFIG.cookie_prefix}SessionStore"
"""The salt of the signature of a session's data in the database."""
KEY_PREFIX: Final = f"{settings.CONFIG.cookie_prefix}django.contrib.sessions.cached_db"
"""What a session's key in the cache begins with."""
