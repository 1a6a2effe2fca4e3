"""Reads API keys from the database. A faulty row affects itself only."""

import json
from functools import lru_cache
from typing import Any, Final

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from routing.authentication.key_record import KeyRecord, RetiredDigest
from routing.authentication.key_rules import KeyRules
from routing.configuration.consumers import decode_limits
from routing.configuration.networks import networks
from routing.configuration.values import list_of, method
from routing.database.pages import CORRUPT, Ids, Selection, readable
from routing.models import ApiKey, RetiredSecret

Read = tuple[dict[int, KeyRecord], dict[int, str]]
"""Records and faults, by row."""
_PLAIN: Final = ("pk", "prefix", "digest", "name", "tenant", "consumer_id", "environment", "scope_text")
_SPECIAL: Final = (*_PLAIN, "expires_at", "is_limited", "created_at", "limits", "methods", "ip")
_IS_PLAIN: Final = Q(expires_at__isnull=True, limits__isnull=True, methods__isnull=True, ip__isnull=True)
"""Selects keys without anything that takes long to read: where there are very many, most of them."""


def active_keys() -> QuerySet[ApiKey]:
    """All keys that are not revoked. Expiry is checked when a key is used."""
    return ApiKey.objects.filter(revoked_at=None)


def key_record(prefix: str) -> KeyRecord | None:
    """The key with this prefix, if it is not revoked and can be read."""
    pk = active_keys().filter(prefix=prefix).values_list("pk", flat=True).first()
    return None if pk is None else read_keys(Ids([pk]))[0].get(pk)


def read_keys(selection: Selection) -> Read:
    """The selected keys that are not revoked."""
    # SQLite gives a corrupt time as None, which would be a key that never expires.
    is_limited = ExpressionWrapper(Q(expires_at__isnull=False), BooleanField())
    query = active_keys().filter(selection.where()).order_by("pk")
    query = query.annotate(is_limited=is_limited, scope_text=Cast("scopes", TextField()))
    retired = _retired(selection)
    records, faults = dict[int, KeyRecord](), dict[int, str]()
    for condition, columns in ((_IS_PLAIN, _PLAIN), (~_IS_PLAIN, _SPECIAL)):
        for pk, row in readable(query.filter(condition), columns):
            try:
                if row is None:
                    raise ValueError("a value is not what Django has written")
                records[pk] = _record(row, retired.get(pk, ()))
            except CORRUPT as error:
                prefix = row[1] if row else ApiKey.objects.filter(pk=pk).values_list("prefix", flat=True).first()
                faults[pk] = f"API key gw_{prefix} cannot be read and is not accepted: {error}"
    return records, faults


def _retired(selection: Selection) -> dict[int, tuple[RetiredDigest, ...]]:
    """The replaced secrets that are still accepted, by their key's id."""
    rows = RetiredSecret.objects.filter(selection.where("key_id"), valid_until__gt=timezone.now()).order_by("pk")
    found: dict[int, tuple[RetiredDigest, ...]] = {}
    for key, digest, until in rows.values_list("key_id", "digest", "valid_until"):
        if until is not None:  # SQLite gives a corrupt time as None
            found[key] = (*found.get(key, ()), RetiredDigest(digest, until.timestamp()))
    return found


def _rules(methods: Any, ip: Any) -> KeyRules | None:
    """Raises ValueError for limits that cannot be read: a key is not accepted without them."""
    if ip is None and methods is None:
        return None
    return KeyRules(
        () if ip is None else networks(ip), None if methods is None else frozenset(list_of(method)(methods))
    )


@lru_cache(maxsize=1_024)
def _scopes(text: str | None) -> frozenset[str] | None:
    """Parse scopes from JSON, memoised since many keys have the same. Raises ValueError for what no form or command
    writes.
    """
    scopes = None if text is None else json.loads(text)
    if scopes is not None and not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
        raise ValueError("scopes is not a list of strings")
    return None if scopes is None else frozenset(scopes)


def _record(row: tuple[Any, ...], retired: tuple[RetiredDigest, ...]) -> KeyRecord:
    """Raises ValueError for a row that no form and no command would have written."""
    pk, prefix, digest, name, tenant, consumer, environment, scopes, *special = row
    expires, is_limited, created, limits, methods, ip = special or (None, False, None, None, None, None)
    if expires is None and is_limited:
        raise ValueError("expires_at is not a time")
    return KeyRecord(
        prefix=prefix,
        digest=digest,
        name=name,
        scopes=_scopes(scopes),
        tenant=tenant or None,
        expires=expires.timestamp() if expires else None,
        consumer=consumer,
        limits=decode_limits(limits) if limits else None,
        created=created.timestamp() if limits and created else 0.0,
        row=pk,
        environment=environment,
        rules=_rules(methods, ip),
        retired=retired,
    )
