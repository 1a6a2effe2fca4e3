"""Tokens and subjects whose tokens are refused before they expire."""

from collections.abc import Iterable
from typing import Final

import msgspec

from routing.caller import Caller

_FIREBASE: Final = "https://securetoken.google.com/"


class Revocation(msgspec.Struct, frozen=True):
    """A revocation of a token, by its `jti`, or of all tokens of a subject. Without `issuer`, it holds for every
    issuer. `until` is Unix time.
    """

    issuer: str
    subject: str
    token_id: str
    until: float


class Revocations:
    """Immutable: replaced as a whole.

    Issuers are compared without the slash at their end, so that a revocation that is written otherwise has effect too.
    """

    def __init__(self, records: Iterable[Revocation] = ()) -> None:
        self._subjects: dict[tuple[str, str], float] = {}
        self._tokens: dict[tuple[str, str], float] = {}
        self._firebase: dict[str, float] = {}
        for record in records:
            found, value = (self._tokens, record.token_id) if record.token_id else (self._subjects, record.subject)
            key = record.issuer.removesuffix("/"), value
            found[key] = max(record.until, found.get(key, 0.0))
            if not record.token_id and (not record.issuer or record.issuer.startswith(_FIREBASE)):
                self._firebase[value] = max(record.until, self._firebase.get(value, 0.0))

    def __bool__(self) -> bool:
        return bool(self._subjects or self._tokens)

    def revoke(self, caller: Caller, now: float) -> bool:
        """Whether a token of this caller is refused now."""
        identity = caller.identity
        kind, _, name = caller.id.partition(":")
        if kind == "firebase" or kind.startswith("firebase+"):
            return self._firebase.get(name, 0.0) > now  # there is one project, whose tokens have no id
        if identity is None:
            return False
        issuers = ("", identity.issuer.removesuffix("/"))
        token = identity.token_id
        return any(
            self._subjects.get((issuer, identity.subject), 0.0) > now
            or (token is not None and self._tokens.get((issuer, token), 0.0) > now)
            for issuer in issuers
        )


NONE: Final = Revocations()
