"""Sign-ins that were begun at the provider and are not finished, in the session of the browser that began them."""

import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final

import msgspec

LIFETIME_SECONDS: Final = 600.0
MAX_AHEAD_SECONDS: Final = 60.0
"""By how much another machine's clock may be ahead: a provider that asks nothing sends the browser back at once."""
MAX_PENDING: Final = 5
"""The most logins in progress in one browser, one for each tab. The oldest is forgotten."""
_KEY: Final = "sign_in_begun"


class PendingLogin(msgspec.Struct, frozen=True, array_like=True):
    """`state`, `nonce` and `verifier` (RFC 7636) are each used once. `user` is who connects the identity to their
    account, None for a sign-in. `next` is a path of the gateway's own, or "".
    """

    state: str
    nonce: str
    verifier: str
    at: float
    next: str = ""
    user: str | None = None

    @property
    def challenge(self) -> str:
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


def begin(session: Any, next_path: str, user: str | None) -> PendingLogin:
    begun = PendingLogin(token_urlsafe(24), token_urlsafe(24), token_urlsafe(48), time.time(), next_path, user)
    session[_KEY] = [msgspec.to_builtins(each) for each in [*_pending(session), begun][-MAX_PENDING:]]
    return begun


def finish(session: Any, state: str) -> PendingLogin | None:
    """The sign-in with this state, which is forgotten; None if there is none, or it was begun too long ago."""
    pending = _pending(session)
    found = next((each for each in pending if each.state == state), None)
    if found is not None:
        session[_KEY] = [msgspec.to_builtins(each) for each in pending if each is not found]
    return found


def _pending(session: Any) -> list[PendingLogin]:
    now = time.time()
    try:
        stored = msgspec.convert(session.get(_KEY, []), list[PendingLogin])
    except msgspec.ValidationError:
        return []
    return [each for each in stored if -MAX_AHEAD_SECONDS <= now - each.at < LIFETIME_SECONDS]
