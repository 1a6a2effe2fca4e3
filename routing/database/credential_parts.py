"""API keys, keys for signatures and revocations as parts of a proposal: what they let through or refuse, and the rows
that are written later.

What identifies a key, its digest or public key, is beside its document: nobody compares it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from routing.models import ApiKey, Consumer, Revocation, SigningKey

KEYS: Final = "keys"
SIGNING_KEYS: Final = "signing_keys"
REVOCATIONS: Final = "revocations"
"""The section of revoked tokens, by the numbers of their rows."""
REVOKED_BY: Final = "revoked_by"
SECTIONS: Final = (KEYS, SIGNING_KEYS, REVOCATIONS)
_KEY_FIELDS: Final = ("name", "scopes", "tenant", "limits", "environment", "methods", "ip", "owner")
_KEY_TIMES: Final = ("expires_at", "revoked_at")
_KEY_IDENTITY: Final = ("prefix", "digest", "created_by")
_EMPTY: Final = {"tenant": "", "environment": "", "owner": ""}
"""Columns that are empty, and not null, without a value."""
_SIGNING_FIELDS: Final = ("algorithm", "scopes")
_SIGNING_TIMES: Final = ("expires_at",)
_SIGNING_IDENTITY: Final = ("keyid", "public_key", "secret", "created_by")

Document = dict[str, Any]


def credential_label(section: str, name: str) -> str:
    """A key's name among those of services, which have no spaces: `key k3m5pq7a`, `signing_key acme`."""
    return f"{section.removesuffix('s')} {name}"


def read(section: str, name: str) -> Document | None:
    """What a key lets through, by its prefix or id, or what a revocation refuses; None if there is none. Of keys for
    signatures it is the active one, and of revocations one that is in force.
    """
    row = _row(section, name)
    if row is None:
        return None
    return _revocation(row) if isinstance(row, Revocation) else _document(section, row)


def identity(section: str, name: str) -> Document:
    """The columns of a key's row that are not part of its settings."""
    names = _KEY_IDENTITY if section == KEYS else _SIGNING_IDENTITY
    return {name: getattr(row, name) for name in names} if (row := _row(section, name)) is not None else {}


def write(section: str, name: str, value: Document | None, found: Mapping[str, Any]) -> None:
    """Make a row match its document: None deletes it. A new key gets its identity from `found`.

    Raises ValidationError, and LookupError if its consumer is gone.
    """
    row = _row(section, name)
    if value is None:
        if row is not None:
            row.delete()
        return
    if isinstance(row, Revocation):
        raise LookupError("a revocation does not change")
    if row is None:
        row = ApiKey(**found) if section == KEYS else SigningKey(**found)
    fields, times = (_KEY_FIELDS, _KEY_TIMES) if section == KEYS else (_SIGNING_FIELDS, _SIGNING_TIMES)
    for field in fields:
        setattr(row, field, value.get(field, _EMPTY.get(field)))
    for field in times:
        setattr(row, field, datetime.fromisoformat(value[field]) if field in value else None)
    row.consumer = _consumer(value.get("consumer"))
    row.full_clean()
    row.save()


def _consumer(name: str | None) -> Consumer | None:
    if name is None:
        return None
    found = Consumer.objects.filter(name=name).first()
    if found is None:
        raise LookupError(f"there is no consumer {name}")
    return found


def _row(section: str, name: str) -> ApiKey | SigningKey | Revocation | None:
    if section == REVOCATIONS:
        return Revocation.objects.filter(pk=int(name), until__gt=timezone.now()).first()
    if section == KEYS:
        return ApiKey.objects.select_related("consumer").filter(prefix=name).first()
    return SigningKey.objects.select_related("consumer").filter(keyid=name, valid_until=None).first()


def _document(section: str, row: ApiKey | SigningKey) -> Document:
    fields, times = (_KEY_FIELDS, _KEY_TIMES) if section == KEYS else (_SIGNING_FIELDS, _SIGNING_TIMES)
    document = {name: getattr(row, name) for name in fields}
    document["consumer"] = row.consumer.name if row.consumer is not None else None
    document |= {name: time.isoformat() for name in times if (time := getattr(row, name)) is not None}
    return {name: value for name, value in document.items() if value or (name == "scopes" and value is not None)}


def _revocation(row: Revocation) -> Document:
    found = {"issuer": row.issuer, "subject": row.subject, "jti": row.token_id, "until": row.until.isoformat()}
    found |= {"reason": row.reason, REVOKED_BY: row.actor}
    return {name: value for name, value in found.items() if value}


def narrows(old: Document, new: Document | None) -> bool:
    """Whether a key is deleted, revoked or ends sooner, and is otherwise the same but for its name."""
    if new is None:
        return True
    free = {"name", *_KEY_TIMES}
    if {name: value for name, value in old.items() if name not in free} != {
        name: value for name, value in new.items() if name not in free
    }:
        return False
    return all(_is_sooner(old.get(name), new.get(name)) for name in _KEY_TIMES)


def _is_sooner(old: str | None, new: str | None) -> bool:
    if old is None or new is None:
        return old is None
    return datetime.fromisoformat(new) <= datetime.fromisoformat(old)
