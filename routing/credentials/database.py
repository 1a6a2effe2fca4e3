"""Refresh tokens and the state of credentials in the database. Called from the event loop: each call is in a thread."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from routing.credentials.vault import GrantName, GrantStatus, VaultUnavailable
from routing.database.connection import in_thread
from routing.models import BackendCredential

T = TypeVar("T")


class DatabaseVault:
    """A Vault."""

    async def load(self, name: GrantName) -> bytes | None:
        return await _in_thread(partial(_load, name))

    async def save(self, name: GrantName, refresh_token: bytes) -> None:
        await _in_thread(partial(_update, name, refresh_token=refresh_token.decode()))

    async def report(self, name: GrantName, status: GrantStatus) -> None:
        await _in_thread(
            partial(
                _update,
                name,
                fresh_until=_time(status.fresh_until),
                failure=status.failure[:64],
                updated_at=_time(status.at),
                tenant=status.tenant[:200],
            )
        )

    async def connect(self, name: GrantName, grant: bytes, account: str, now: float, tenant: str = "") -> None:
        await _in_thread(partial(_connect, name, grant.decode(), account, _time(now), tenant[:200]))

    async def remove(self, name: GrantName) -> None:
        await _in_thread(partial(_remove, name))


def _load(name: GrantName) -> bytes | None:
    found = _rows(name).values_list("refresh_token", flat=True).first()
    return found.encode() if found else None


def _update(name: GrantName, **fields: Any) -> None:
    keys = _keys(name)
    if not _rows(name).update(**fields):
        BackendCredential.objects.update_or_create(
            defaults=fields, service=keys["service"], subject=keys["subject"], client=keys["client"]
        )


def _connect(name: GrantName, refresh_token: str, account: str, now: datetime | None, tenant: str) -> None:
    times = {"connected_at": now, "updated_at": now}
    _update(name, refresh_token=refresh_token, account=account[:100], failure="", tenant=tenant, **times)
    # Of an earlier client: nothing can be done with it any more.
    others = BackendCredential.objects.filter(service=name.service, subject=name.subject)
    others.exclude(client=name.client).delete()


def _remove(name: GrantName) -> None:
    _rows(name).delete()


def _rows(name: GrantName) -> Any:
    return BackendCredential.objects.filter(**_keys(name))


def _keys(name: GrantName) -> dict[str, str]:
    return {"service": name.service, "subject": name.subject[:400], "client": name.client}


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


async def _in_thread(work: Callable[[], T]) -> T:
    """Raises VaultUnavailable."""
    return await in_thread(work, VaultUnavailable)
