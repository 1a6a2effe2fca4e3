"""Who sent the recorded requests: their credentials are not recorded, so each caller has a stand-in for its own."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from metrics.explained_caller import presented_caller, token_caller
from routing.authentication.api_keys import ApiKeys, KeyRecord
from routing.authentication.authenticator import Authenticator, Credential
from routing.authentication.certificates.callers import KIND as CERTIFICATE
from routing.authentication.key_form import CHECKSUM_LENGTH, SECRET_LENGTH
from routing.authentication.key_rules import KeyRules
from routing.authentication.signatures.keys import KIND as SIGNATURE
from routing.caller import KEY_CALLER, Caller
from routing.errors import GatewayError, Unauthenticated
from routing.http import Headers
from routing.router.table import RouteTable

_SECRET: Final = "0" * (SECRET_LENGTH + CHECKSUM_LENGTH)


class Known(NamedTuple):
    """A caller as a configuration has it, and the rules of its key."""

    caller: Caller
    rules: KeyRules | None = None


class StandIns:
    """Header fields that stand in for a recorded caller's credential: the same under every configuration.

    Callers without one have shown a certificate or a signature with the request itself.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.numbers: Final = {caller: number for number, caller in enumerate(dict.fromkeys(ids)) if caller}
        self.ids: Final = {_text(caller, number): caller for caller, number in self.numbers.items()}

    def credential(self, caller: str) -> Headers:
        number = self.numbers.get(caller)
        if number is None or is_presented(caller):
            return []
        text = _text(caller, number).encode()
        return [(b"x-api-key", text)] if caller.startswith(KEY_CALLER) else [(b"authorization", b"Bearer " + text)]


def is_presented(caller: str) -> bool:
    """Whether its requests prove who sends them by a client certificate or a signature."""
    return caller.startswith((f"{CERTIFICATE}+", f"{SIGNATURE}+"))


def _text(caller: str, number: int) -> str:
    kind, _, prefix = caller.partition(":")
    return f"gw_{prefix}_{_SECRET}" if kind == "key" else f"replay.{number}"


class RecordedCallers(Authenticator):
    """Identifies the stand-ins. `clock` is Unix time."""

    def __init__(self, table: RouteTable, keys: ApiKeys, stand_ins: StandIns, clock: Callable[[], float]) -> None:
        super().__init__(lambda: keys)
        self._stand_ins = stand_ins
        self._table, self._api_keys, self._clock = table, keys, clock
        self._records = self._key_records()
        self._known: dict[str, Known | None] = {}

    def presented(self, caller: str) -> Caller | None:
        """The caller of a certificate or a signature."""
        known = self._find(caller)
        return None if known is None else known.caller

    def try_identify(self, credential: Credential, now: float) -> Caller | None:
        known = self._of(credential)
        if known is None or (known.caller.expires is not None and known.caller.expires <= now):
            return None
        return known.caller

    def check(self, credential: Credential, client: str, method: str) -> None:
        known = self._of(credential)
        if known is not None and known.rules is not None:
            known.rules.check(client, method)

    def is_special(self, credential: Credential) -> bool:
        known = self._of(credential)
        return known is not None and known.rules is not None

    def retired_digest(self, credential: Credential) -> str | None:  # noqa: ARG002 - the base class's
        """Which of a key's secrets was used is not recorded."""
        return None

    def invalid(self, credential: Credential) -> Unauthenticated:  # noqa: ARG002 - the base class's
        return Unauthenticated("the credential is not valid any more")

    def _key_records(self) -> dict[str, KeyRecord]:
        wanted = {caller.partition(":")[2] for caller in self._stand_ins.numbers if caller.startswith(KEY_CALLER)}
        return {record.prefix: record for record in self._api_keys.records if record.prefix in wanted}

    def _of(self, credential: Credential) -> Known | None:
        caller = self._stand_ins.ids.get(credential.text)
        return None if caller is None else self._find(caller)

    def _find(self, caller: str) -> Known | None:
        if caller not in self._known:
            self._known[caller] = self._identify(caller)
        return self._known[caller]

    def _identify(self, caller: str) -> Known | None:
        kind, _, name = caller.partition(":")
        if kind == "key":
            record = self._records.get(name)
            found = None if record is None else self._api_keys.caller_of(record)
            return None if record is None or found is None else Known(found, record.rules)
        return self._without_key(caller)

    def _without_key(self, caller: str) -> Known | None:
        refusal: GatewayError | None
        find = presented_caller if is_presented(caller) else token_caller
        try:
            found, refusal = find(caller, self._table, self._api_keys.consumers, self._clock()) or (None, None)
        except ValueError:
            return None
        return None if found is None or refusal is not None else Known(found)
