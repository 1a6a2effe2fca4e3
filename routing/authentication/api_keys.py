"""API keys: their records and lookup.

Only a digest of the whole key is stored. Plain SHA-256 suffices: slow hashes are for passwords, not for 256 random
bits. After a rotation the digest of the previous secret stays valid for a while, for the same caller.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from resilience.memo import TwoGenerationMemo
from routing.authentication.key_form import (
    NewApiKey,
    contains_key,
    digest,
    environment_of,
    generate_api_key,
    is_well_formed,
    looks_like_key,
)
from routing.authentication.key_record import KeyRecord, RetiredDigest
from routing.authentication.key_rules import KeyRules
from routing.authentication.key_table import KeyTable
from routing.caller import KEY_CALLER, Caller
from routing.consumers.subscription import LimitedMember
from routing.consumers.table import ConsumerTable

__all__ = [
    "ApiKeys",
    "KeyRecord",
    "NewApiKey",
    "RetiredDigest",
    "contains_key",
    "digest",
    "generate_api_key",
    "looks_like_key",
]
REMEMBERED: Final = 4_096
"""The most keys in each of the memo's two generations."""


class _Match(NamedTuple):
    """What a secret was found to be. `retired` is its digest if it has been replaced, else empty."""

    caller: Caller
    rules: KeyRules | None
    retired: str


class ApiKeys:
    """All keys that are not revoked, with the consumers whose they are. Replaced when keys or consumers change, so
    that what was derived from an earlier one is known to be outdated.

    Keys of consumers that do not exist or are disabled are not accepted, nor are, with an `environment`, those that
    are bound to another one. A key's caller is made when the key is used, and kept for as long as it is in use.
    """

    def __init__(
        self, records: Iterable[KeyRecord] = (), consumers: ConsumerTable | None = None, environment: str = ""
    ) -> None:
        self.consumers: Final = consumers or ConsumerTable()
        self.environment: Final = environment
        self.records: Final = records if isinstance(records, KeyTable) else KeyTable(records)
        self._known: Final[TwoGenerationMemo[bytes, _Match]] = TwoGenerationMemo(REMEMBERED)
        self.has_limits: Final = bool(self.consumers) or self.records.has_limits
        self.has_special: Final = self.records.has_special
        """Whether any key has rules of its own, or a previous secret."""

    def __len__(self) -> int:
        return len(self.records)

    def find(self, key: str, now: float) -> Caller | None:
        """The key's caller, or None if the key is unknown or expired. `now` is Unix time.

        The timing of a lookup by digest discloses nothing usable: a guess cannot be steered through SHA-256.
        """
        match = self._match(key) if is_well_formed(key) else None
        if match is None or (match.caller.expires is not None and match.caller.expires <= now):
            return None
        return match.caller

    def caller_of(self, record: KeyRecord) -> Caller | None:
        """The caller of a stored key; None if its consumer or its environment has no access here."""
        match = self._make(record, bytes.fromhex(record.digest))
        return None if match is None else match.caller

    def rules(self, key: str) -> KeyRules | None:
        """The limits of a known key besides its scopes; None if it has none."""
        match = self._match(key) if self.has_special else None
        return match.rules if match is not None else None

    def retired_digest(self, key: str) -> str | None:
        """The key's digest if its secret has been replaced, else None."""
        match = self._match(key) if self.has_special else None
        return match.retired or None if match is not None else None

    def fault(self, key: str) -> str:
        """Why a key is not accepted, as far as its own text shows it."""
        if not is_well_formed(key):
            return "the API key is mistyped or incomplete: its checksum is wrong"
        environment = environment_of(key)
        if self.environment and environment not in ("", self.environment):
            return f"the API key is for the environment '{environment}', and this gateway is '{self.environment}'"
        return "the API key is not valid"

    def _match(self, key: str) -> _Match | None:
        """Unknown keys are not remembered: however many are tried, they take no memory."""
        found = sha256(key.encode("utf-8", "surrogatepass")).digest()
        match = self._known.get(found)
        if match is None:
            record = self.records.by_digest(found)
            match = self._make(record, found) if record is not None else None
            if match is not None:
                self._known.put(found, match)
        return match

    def _make(self, record: KeyRecord, found: bytes) -> _Match | None:
        """None for a key that is not accepted here."""
        if self.environment and record.environment not in ("", self.environment):
            return None
        consumer = self.consumers.find(record.consumer) if record.consumer is not None else None
        if record.consumer is not None and (consumer is None or not consumer.enabled):
            return None
        own = (
            LimitedMember(record.row, record.prefix, record.limits, record.created)
            if record.limits is not None
            else None
        )
        subscription = self.consumers.subscribed(consumer, own)
        caller = Caller(
            f"{KEY_CALLER}{record.prefix}", record.tenant, record.scopes, record.expires, subscription=subscription
        )
        digest = found.hex()
        until = next((item.until for item in record.retired if item.digest == digest), None)
        if until is None or digest == record.digest:
            return _Match(caller, record.rules, "")
        expires = until if caller.expires is None else min(until, caller.expires)
        return _Match(msgspec.structs.replace(caller, expires=expires), record.rules, digest)
