"""Approval of changes: what one person changes waits until another one agrees.

A change is made and undone in one transaction. What it would have written is kept, and written when it is approved,
unless what it replaces has changed since.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from routing.configuration import literals
from routing.configuration.differences import ABSENT
from routing.configuration.document import canonical
from routing.configuration.literals import Masked
from routing.configuration_errors import TooManyProposals
from routing.database import masking
from routing.database.actor import Actor, acting_as, current_actor
from routing.database.apply import Changes, apply_document
from routing.database.config_file import digest
from routing.database.document_diff import DocumentDiff, document_diff, parts
from routing.database.locks import lock_configuration
from routing.database.revisions import summary_of
from routing.database.undo import document_of
from routing.models import ApiKey, ConfigurationProposal

T = TypeVar("T")
MAX_WAITING: Final = 200
"""Proposals that may wait at a time. Each may hold a whole configuration."""
MAX_DECIDED: Final = 500
"""Proposals that were decided; older ones are deleted."""
_FREE: Final = ("consumer ", "team ")
"""Parts whose changes need no approval: those who may call, not how calls are handled."""
_State = ConfigurationProposal.State


class NotDecided(Exception):
    """A proposal cannot be decided so; the message says why."""


class Proposed(NamedTuple, Generic[T]):
    """A change that was not made, but waits. `result` is what it returned."""

    proposal: ConfigurationProposal
    result: T


def is_required() -> bool:
    return bool(settings.CONFIG.approval)


def submit(change: Callable[[], T], user: Any = None, *, whole: bool = False) -> T | Proposed[T]:
    """Call `change`. If it changes the configuration and approval is required, what it has written to the database is
    undone, and waits.

    `whole`: it may change teams and consumers too, which alone need no approval. Raises TooManyProposals, and what
    `change` raises.
    """
    if not is_required():
        return change()
    with transaction.atomic():
        lock_configuration()
        before = _masked(whole=whole).structure
        result = change()
        after = _masked(whole=whole)
        diff = document_diff(before, after.structure)
        names = [*diff.created, *diff.changed, *diff.deleted]
        if all(name.startswith(_FREE) for name in names):
            return result
        author = _Author(current_actor(), user)
        transaction.set_rollback(True)
    return Proposed(_propose(before, after, diff, author), result)


def approve(number: int, user: Any, actor: str) -> Changes:
    """Make the change of a proposal. Raises NotDecided, and ConfigurationError if it is no longer valid."""
    found = _waiting(number)
    note = f"{found.summary} (proposal {number} of {found.author})"
    with acting_as(actor, note, found.comment), transaction.atomic():  # the revision is recorded after the transaction
        lock_configuration()
        proposal = _waiting(number)
        if is_own(proposal, user, actor):
            raise NotDecided("Nobody approves their own change: ask somebody else who may configure the gateway.")
        changes = make(proposal)
        _decide(proposal, _State.APPROVED, actor)
    return changes


def make(proposal: ConfigurationProposal) -> Changes:
    """Write what a proposal would, in a transaction that has locked the configuration. Raises NotDecided, and
    ConfigurationError.
    """
    masked = _masked(whole=True)
    present = {name: digest(value) for name, (_, value) in parts(masked.structure).items()}
    moved = [name for name, part in proposal.parts.items() if part["base"] != present.get(name)]
    if moved:
        raise NotDecided(f"Conflict: {', '.join(moved)} changed since this was proposed. Propose the change again.")
    wanted = {name: (tuple(part["path"]), _value(part)) for name, part in proposal.parts.items()}
    deleted = [name for name, (_, value) in wanted.items() if value is ABSENT]
    known = {**masked.secrets, **(proposal.secrets or {})}
    return apply_document(literals.unmask(document_of(wanted), known), delete=deleted)


def reject(number: int, actor: str, reason: str, *, is_author: bool) -> ConfigurationProposal:
    """Decide that the change will not be made; its author withdraws it. Raises NotDecided."""
    with transaction.atomic():
        lock_configuration()
        proposal = _waiting(number)
        _decide(proposal, _State.WITHDRAWN if is_author else _State.REJECTED, actor, reason)
    return proposal


def is_own(proposal: ConfigurationProposal, user: Any, actor: str) -> bool:
    """Whether the user has proposed the change, by themselves or with a key that they made or answer for."""
    return not {actor, user.get_username(), f"user:{user.pk}"}.isdisjoint(proposal.identities)


def identities(actor: str, user: Any = None) -> list[str]:
    """Who may not approve what this actor proposes."""
    found = {actor}
    if user is not None and getattr(user, "pk", None) is not None:
        found.add(f"user:{user.pk}")
    if actor.startswith("key:"):
        for key in ApiKey.objects.filter(prefix=actor.removeprefix("key:")):
            found.update(name for name in (key.created_by, key.owner) if name)
    return sorted(found)


def _masked(*, whole: bool) -> Masked:
    masked = masking.whole_document() if whole else masking.masked_document()
    return masked._replace(structure=canonical(masked.structure))


class _Author(NamedTuple):
    actor: Actor
    user: Any


def _propose(before: dict[str, Any], after: Masked, diff: DocumentDiff, author: _Author) -> ConfigurationProposal:
    actor = author.actor
    old, new = parts(before), parts(after.structure)
    changed = {
        name: {
            "path": list((new.get(name) or old[name])[0]),
            "base": digest(old[name][1]) if name in old else None,
            "value": new[name][1] if name in new else None,
        }
        for name in (*diff.created, *diff.changed, *diff.deleted)
    }
    with transaction.atomic():
        lock_configuration()
        if ConfigurationProposal.objects.filter(state=_State.WAITING).count() >= MAX_WAITING:
            raise TooManyProposals(f"{MAX_WAITING} changes wait for approval already: decide some of them first")
        proposal = ConfigurationProposal.objects.create(
            author=actor.name[:200],
            identities=identities(actor.name, author.user),
            summary=(actor.note or summary_of(before, after.structure))[:200],
            comment=actor.comment[:500],
            parts=changed,
            differences=diff.to_document(),
            secrets=after.secrets or None,
        )
        _delete_oldest()
    return proposal


def _waiting(number: int) -> ConfigurationProposal:
    proposal = ConfigurationProposal.objects.filter(pk=number).first()
    if proposal is None:
        raise NotDecided(f"There is no proposal {number}.")
    if proposal.state != _State.WAITING:
        raise NotDecided(f"Proposal {number} is {proposal.state} already.")
    return proposal


def _decide(proposal: ConfigurationProposal, state: str, actor: str, reason: str = "") -> None:
    proposal.state, proposal.decided_by, proposal.reason = state, actor[:200], reason[:500]
    proposal.decided_at, proposal.secrets = timezone.now(), None
    proposal.save()


def _delete_oldest() -> None:
    decided = ConfigurationProposal.objects.exclude(state=_State.WAITING)
    last = decided.values_list("pk", flat=True)[MAX_DECIDED : MAX_DECIDED + 1].first()
    if last is not None:
        decided.filter(pk__lte=last).delete()


def _value(part: dict[str, Any]) -> Any:
    return ABSENT if part["value"] is None else part["value"]
