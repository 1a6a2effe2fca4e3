"""What is known of a stored API key."""

import msgspec

from routing.authentication.key_rules import KeyRules
from routing.consumers.policy import Limits


class RetiredDigest(msgspec.Struct, frozen=True):
    """The digest of a secret that was replaced, and until when it is still accepted, in Unix time."""

    digest: str
    until: float


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key. `scopes` and `tenant` become its caller's; `expires` is Unix time, or None for never.

    `consumer` is the row of its consumer. `limits` are its own; their quotas may begin at `created`, Unix time.
    """

    prefix: str
    digest: str
    name: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None
    expires: float | None = None
    consumer: int | None = None
    limits: Limits | None = None
    created: float = 0.0
    row: int = 0
    environment: str = ""
    rules: KeyRules | None = None
    retired: tuple[RetiredDigest, ...] = ()
