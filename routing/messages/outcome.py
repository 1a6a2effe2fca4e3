"""What a response means for the service, where its status alone does not say it. Pure decisions."""

from enum import StrEnum
from typing import Final

import msgspec

from routing.http import Headers
from routing.messages.conditions import NO_DOCUMENT, Conditions, json_document


class OutcomeClass(StrEnum):
    """LIMITED: the backend wants fewer calls. OURS: it does not accept the gateway's own credential. FAILED: it could
    not respond. CALLERS: an error of the caller, which is passed on and not stored.
    """

    LIMITED = "limited"
    OURS = "ours"
    FAILED = "failed"
    CALLERS = "callers"


RETRYABLE: Final = frozenset({OutcomeClass.LIMITED, OutcomeClass.OURS, OutcomeClass.FAILED})
"""The same request may succeed later."""


class OutcomePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of each class. They are tried in this order, and the first that holds counts."""

    limited: Conditions = Conditions()
    ours: Conditions = Conditions()
    failed: Conditions = Conditions()
    callers: Conditions = Conditions()

    @property
    def needs_body(self) -> bool:
        return any(conditions.needs_body for conditions in self._all)

    def needs_body_of(self, status: int, headers: Headers) -> bool:
        """Whether the body decides about a response with this status and these header fields."""
        return any(conditions.needs_body_of(status, headers) for conditions in self._all)

    def classify(self, status: int, headers: Headers, body: bytes | None) -> OutcomeClass | None:
        """The class of a response. `body` is the whole body as sent, None if it is not known."""
        document = NO_DOCUMENT if body is None else json_document(headers, body)
        for outcome, conditions in zip(OutcomeClass, self._all, strict=True):
            if conditions.hold(status, headers, document):
                return outcome
        return None

    @property
    def _all(self) -> tuple[Conditions, ...]:
        return self.limited, self.ours, self.failed, self.callers
