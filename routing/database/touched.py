"""Which teams, consumers, keys and revocations a change has written, and how they were before it.

There may be 100,000 of them: signals say what a page has changed, so that not all have to be read twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import models
from django.db.models.signals import pre_delete, pre_save

from routing.configuration_errors import NotProposable
from routing.database import credential_parts
from routing.database.credential_parts import KEYS, REVOCATIONS, SECTIONS, SIGNING_KEYS
from routing.models import ApiKey, Consumer, ConsumerIdentity, Revocation, SigningKey, Team

_NAMED: Final[dict[type[models.Model], tuple[str, str]]] = {
    Team: ("teams", "name"),
    Consumer: ("consumers", "name"),
    ApiKey: (KEYS, "prefix"),
    SigningKey: (SIGNING_KEYS, "keyid"),
    Revocation: (REVOCATIONS, "pk"),
}
"""The section of each model, and the field that names its rows."""

Place = tuple[str, str]
"""A section and a name."""


class Touched:
    """`before` is what was written as it was: None for what was not there."""

    def __init__(self) -> None:
        self.before: dict[Place, dict[str, Any] | None] = {}
        self.digests: dict[str, str] = {}
        """The digests of API keys, by prefix."""

    def note(self, section: str, name: str) -> None:
        if (section, name) not in self.before:
            self.before[section, name] = current(section, name)
            if section == KEYS:
                self.digests[name] = credential_parts.identity(KEYS, name).get("digest", "")

    def sections(self, *, is_after: bool) -> dict[str, dict[str, Any]]:
        """Teams and consumers that were written, by section and name, as they were or are now."""
        found: dict[str, dict[str, Any]] = {}
        for section, name in self.before:
            if section in SECTIONS:
                continue
            document = current(section, name) if is_after else self.before[section, name]
            if document is not None:
                found.setdefault(section, {})[name] = document
        return found

    def credentials(self) -> Iterator[tuple[Place, dict[str, Any] | None, dict[str, Any] | None]]:
        """Keys and revocations that differ, with their documents before and after.

        Raises NotProposable for a key that was rotated too: its new secret was shown already, and would never be valid.
        """
        for (section, name), before in self.before.items():
            after = current(section, name) if section in SECTIONS else before
            if before == after:
                continue
            if section == KEYS and None not in (before, after):
                digest = credential_parts.identity(section, name)["digest"]
                if digest != self.digests[name] and not credential_parts.narrows(before or {}, after):
                    raise NotProposable("a key is rotated at once: change its limits and its expiry by itself")
            yield (section, name), before, after


_current: Final[ContextVar[Touched | None]] = ContextVar("touched", default=None)


@contextmanager
def recording() -> Iterator[Touched]:
    found = Touched()
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


@contextmanager
def agreed() -> Iterator[None]:
    """What is written in the block was agreed by two people already."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def current(section: str, name: str) -> dict[str, Any] | None:
    """The document of a team, a consumer, a key or a revocation as it is in the database now."""
    if section in SECTIONS:
        return credential_parts.read(section, name)
    if section == "teams":
        team = Team.objects.select_related("plan").filter(name=name).first()
        return None if team is None else team.to_document()
    rows = Consumer.objects.select_related("plan", "team").prefetch_related("identities")
    consumer = rows.filter(name=name).first()
    return None if consumer is None else consumer.with_identities()


def connect() -> None:
    senders: list[type[models.Model]] = [*_NAMED, ConsumerIdentity]
    for model in senders:
        name = f"touched.{model.__name__}"
        pre_save.connect(_before_write, sender=model, dispatch_uid=name)
        pre_delete.connect(_before_write, sender=model, dispatch_uid=name)


def _before_write(sender: type[models.Model], instance: Any, raw: bool = False, **_: object) -> None:
    found = _current.get()
    if found is None or raw:
        return
    stored: Any = None if instance.pk is None else sender._default_manager.filter(pk=instance.pk).first()
    if isinstance(instance, ConsumerIdentity):
        for row in filter(None, (stored, instance)):
            found.note("consumers", row.consumer.name)
        return
    if isinstance(instance, Revocation) and stored is None:
        return  # it only takes away, and has no number yet
    section, field = _NAMED[sender]
    if stored is not None and getattr(stored, field) != getattr(instance, field):
        raise NotProposable(f"{stored} cannot be renamed while changes need approval: make another one")
    found.note(section, str(getattr(instance, field)))
