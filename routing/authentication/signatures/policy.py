"""What a service requires of the signatures of its requests."""

from enum import StrEnum
from typing import Final

import msgspec

DERIVED: Final = frozenset(
    {"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", "@query-param"}
)
"""Components of a request that are not fields (RFC 9421 section 2.2)."""
CONTENT_DIGEST: Final = "content-digest"
OF_CONTENT: Final = "content-"
"""Begins the fields that describe content, which requests without any do not have."""
MAX_AGE: Final = 86_400.0
MAX_LEEWAY: Final = 600.0


class NonceRule(StrEnum):
    """A signature with a nonce is accepted once, in any case."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class SignaturePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`components` must be covered; fields of content only if the request has any, or has the field. Times are seconds:
    a signature is valid for `max_age` from its `created`, or until its `expires` if that is earlier; `leeway` is for
    clocks that differ. With a `tag`, signatures that have another one or none are not considered.
    """

    components: tuple[str, ...] = ("@method", "@target-uri", CONTENT_DIGEST)
    max_age: float = 300.0
    leeway: float = 30.0
    nonce: NonceRule = NonceRule.REQUIRED
    tag: str | None = None

    def __post_init__(self) -> None:
        for name in self.components:
            if name.startswith("@") and name not in DERIVED - {"@query-param"}:
                raise ValueError(f"components: {name} is not a component of a request that can be required")
        if not 1 <= self.max_age <= MAX_AGE:
            raise ValueError("max_age must be from 1 s to 1 day")
        if not 0 <= self.leeway <= MAX_LEEWAY:
            raise ValueError("leeway must be at most 10 minutes")


DEFAULT_POLICY: Final = SignaturePolicy()
