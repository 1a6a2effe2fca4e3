"""Waits of requests for the fetch of a signing key, bounded in number and time."""

import asyncio
from typing import Final

from routing.authentication.signing_keys import RETRY_SECONDS, SigningKeys, Wait
from routing.errors import AuthenticationUnavailable

MAX_WAITING: Final = 2_048
"""Tokens waiting for a key. Beyond that, verification is unavailable."""
MAX_WAITING_FOR_NEWER: Final = MAX_WAITING // 2
"""Of these, tokens whose signature fits no key: more of them are refused at once, and leave the others their places."""
WAIT_SECONDS: Final = 6.0
"""The longest wait."""


class KeyWaits:
    """The waits of one verifier."""

    def __init__(self) -> None:
        self._waiting = 0

    async def require(self, keys: SigningKeys, kid: str, now: float) -> bool:
        """Wait for a fetch of the keys where a token with this key id needs one; return whether the key is known then.

        Raises AuthenticationUnavailable if no keys have been fetched yet, or if too many requests wait.
        """
        wait = keys.prepare(kid, now)
        if wait is not None:
            if self._waiting >= MAX_WAITING:
                raise unavailable()
            await self._wait(wait)
        if keys.contains(kid):
            return True
        if keys.keys is None:
            raise unavailable()
        return False  # with keys in hand: an issuer publishes its keys before use

    async def renewed(self, keys: SigningKeys, arrived: float) -> bool:
        """For a token whose signature is of none of the keys: wait for the fetch that is due, if one is; return whether
        there are newer keys.
        """
        before, wait = keys.keys, keys.prepare_newer(arrived)
        if wait is not None and self._waiting < MAX_WAITING_FOR_NEWER:
            await self._wait(wait)
        return keys.keys is not before

    async def _wait(self, wait: Wait) -> None:
        self._waiting += 1
        try:
            # Shielded, since other requests may be waiting for the same fetch.
            fetched = asyncio.shield(asyncio.wrap_future(wait.fetch))
            await asyncio.wait_for(fetched, min(wait.seconds, WAIT_SECONDS))
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1


def unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("tokens cannot be verified at the moment", retry_after=RETRY_SECONDS)
