"""Django's sessions in its cache and the database. Other programs may have written to the cache."""

from typing import Any

from django.contrib.sessions.backends import cached_db

from gateway_project.sessions import KEY_PREFIX, SALT


class SessionStore(cached_db.SessionStore):
    """Loads a session from the database if the cached value is not a session, and only sessions of the cookie's present
    name.
    """

    key_salt = SALT
    cache_key_prefix = KEY_PREFIX

    def load(self) -> dict[str, Any]:
        data: dict[str, Any] = super().load()
        if isinstance(data, dict):
            return data
        self._cache.delete(self.cache_key)
        return super().load()

    async def aload(self) -> dict[str, Any]:
        data: dict[str, Any] = await super().aload()
        if isinstance(data, dict):
            return data
        await self._cache.adelete(await self.acache_key())
        return await super().aload()
