"""The caller of a request that is explained, as staff name it."""

import time
from typing import Final
from urllib.parse import unquote

import msgspec

from metrics.runtime_access import running
from routing.authentication.certificates.callers import KIND as CERTIFICATE
from routing.authentication.issuer_policy import Issuer
from routing.authentication.issuer_token import likely_caller
from routing.authentication.revocations import Revocations
from routing.authentication.signatures.keys import KIND as SIGNATURE
from routing.authentication.token_consumers import TokenConsumers
from routing.caller import Caller, firebase_id
from routing.consumers.policy import CERTIFICATE as CERTIFICATE_ISSUER
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerTable
from routing.database.key_records import key_record
from routing.errors import Forbidden, GatewayError, Unauthenticated
from routing.networks import Addresses
from routing.router.table import RouteTable


class HypotheticalCaller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes` None is a Firebase caller whose token has no scopes claim."""

    id: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None


_USE: Final = (
    "use key:<prefix>, firebase:<uid>, jwt+<issuer>:<subject>, certificate+<consumer>:<name> or "
    "signature+<consumer>:<key id>"
)
FoundCaller = tuple[Caller | None, GatewayError | None]
"""The caller, and the error of its credential, if any."""


def find_caller(caller: str | HypotheticalCaller | None, method: str, address: str | None) -> FoundCaller:
    """`address` is the client's; without one, lists of addresses are not applied.

    Raises ValueError for a caller that does not exist.
    """
    if not caller:
        return None, None
    if isinstance(caller, HypotheticalCaller):
        kind, _, uid = caller.id.partition(":")
        identity = firebase_id(uid, caller.tenant) if kind == "firebase" else caller.id
        return Caller(identity, caller.tenant, caller.scopes), None
    kind, _, name = caller.partition(":")
    if kind == "key":
        return _of_key(caller, name, method, address)
    live = running().gateway.live
    now, consumers = time.time(), live.keys.consumers
    found = token_caller(caller, live.table, consumers, now) or presented_caller(caller, live.table, consumers, now)
    if found is None:
        raise ValueError(f"{caller!r} is not an active API key; {_USE}")
    return found


def token_caller(caller: str, table: RouteTable, consumers: ConsumerTable, now: float) -> FoundCaller | None:
    """The caller of a token, by its id; None for an id of another kind. `now` is Unix time.

    Raises ValueError for one of no issuer in the configuration.
    """
    kind, _, name = caller.partition(":")
    if kind == "firebase" and name:
        return _subscribed(Caller(caller), table, consumers, now)
    if kind.startswith("firebase+") and name:
        return _subscribed(Caller(caller, unquote(kind.removeprefix("firebase+"))), table, consumers, now)
    if kind.startswith("jwt+") and name:
        return _subscribed(_of_issuer(kind, name, table), table, consumers, now)
    return None


def presented_caller(caller: str, table: RouteTable, consumers: ConsumerTable, now: float) -> FoundCaller | None:
    """The caller of a client certificate or a signature, by its id; None for an id of another kind. `now` is Unix time.

    Raises ValueError for one of no consumer, or of no signing key in the configuration.
    """
    kind, _, name = caller.partition(":")
    method, _, consumer = kind.partition("+")
    if method not in (CERTIFICATE, SIGNATURE) or not name:
        return None
    record = consumers.by_name(consumer)
    if record is None:
        raise ValueError(f"there is no consumer {consumer!r}")
    if method == CERTIFICATE:
        scopes = consumers.scopes_of(UserBinding(issuer=CERTIFICATE_ISSUER, subject=name))
        found = Caller(caller, scopes=scopes, subscription=consumers.subscribed(record))
    else:
        key = next((key for key in table.signing_keys.find(name, now) if key.consumer == record.id), None)
        if key is None:
            raise ValueError(f"the consumer {consumer!r} has no signing key {name!r}")
        found = key.caller(record, consumers)
    return found, None if record.enabled else Unauthenticated("the consumer is disabled")


def _of_key(caller: str, name: str, method: str, address: str | None) -> FoundCaller:
    record = key_record(name.removeprefix("gw_"))
    found = None if record is None else running().gateway.live.keys.caller_of(record)
    if record is None or found is None:
        raise ValueError(f"{caller!r} is not an active API key; {_USE}")
    rules = record.rules
    if rules is None:
        return found, None
    try:
        # Of a key without addresses, any is permitted.
        msgspec.structs.replace(rules, addresses=_heeded(rules.addresses, address)).check(address or "", method)
    except Forbidden as error:
        return found, error
    return found, None


def _heeded(addresses: Addresses, address: str | None) -> Addresses:
    return () if address is None else addresses


def _of_issuer(kind: str, subject: str, table: RouteTable) -> Caller:
    """A token of a configured issuer, without scopes. Raises ValueError."""
    for issuer in table.issuers:
        own = f"jwt+{issuer.name}"
        if _is_usable(issuer) and (kind == own or kind.startswith(f"{own}+")):
            tenant = unquote(kind.removeprefix(own).removeprefix("+")) or None
            return likely_caller(issuer, subject, tenant, table.services)
    raise ValueError(f"the caller {kind}:... is of no issuer in the configuration")


def _is_usable(issuer: Issuer) -> bool:
    return issuer.enabled and not issuer.faults


def _subscribed(caller: Caller, table: RouteTable, consumers: ConsumerTable, now: float) -> FoundCaller:
    """With its consumer's plan, and the error of a revoked token or a disabled consumer."""
    if Revocations(table.revocations).revoke(caller, now):
        return caller, Unauthenticated("the token was revoked")
    try:
        return TokenConsumers().subscribed(caller, consumers), None
    except Unauthenticated as error:
        return caller, error
