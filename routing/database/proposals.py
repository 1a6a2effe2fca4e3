"""Approval of changes: what one person changes waits until another one agrees.

A change is made and undone in one transaction. What it would have written is kept, and written when it is approved,
unless what it replaces has changed since. approval_rule decides what needs approval.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from routing.caller import KEY_CALLER
from routing.configuration import literals
from routing.configuration.differences import ABSENT, differences
from routing.configuration.document import canonical
from routing.configuration.faults import Path
from routing.configuration.literals import Masked
from routing.configuration_errors import TooManyProposals
from routing.database import credential_parts, masking, touched
from routing.database.actor import Actor, acting_as, current_actor
from routing.database.apply import apply_document
from routing.database.approval_rule import needs_approval
from routing.database.config_file import digest
from routing.database.document_diff import DocumentDiff, document_diff, parts
from routing.database.locks import lock_configuration
from routing.database.named_rows import Changes
from routing.database.revisions import only_service
from routing.database.touched import Place
from routing.database.undo import document_of
from routing.models import ApiKey, ConfigurationProposal

T = TypeVar("T")
MAX_WAITING: Final = 200
"""Proposals that may wait at a time. Each may hold a whole configuration."""
MAX_DECIDED: Final = 500
"""Proposals that were decided; older ones are deleted."""
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
    """Call `change`. If approval_rule says that what it changes needs approval, and approval is required, what it has
    written to the database is undone, and waits.

    `whole`: it may write teams and consumers in bulk, and all are compared; else those whose signals were sent. Raises
    TooManyProposals and NotProposable, and what `change` raises.
    """
    if not is_required():
        return change()
    with transaction.atomic(), touched.recording() as found:
        lock_configuration()
        before = _masked(whole=whole).structure
        result = change()
        after = _masked(whole=whole)
        if not whole:
            before = canonical({**before, **found.sections(is_after=False)})
            after = after._replace(structure=canonical({**after.structure, **found.sections(is_after=True)}))
        changed = _Changed(before, after, list(found.credentials()))
        author = _Author(current_actor(), user)
        if not changed.needs_approval(author.actor.name):
            return result
        transaction.set_rollback(True)
    return Proposed(_propose(changed, author), result)


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
    keys = {name: part for name, part in proposal.parts.items() if part["path"][0] in credential_parts.SECTIONS}
    others = {name: part for name, part in proposal.parts.items() if name not in keys}
    masked = _masked(whole=True)
    present = {name: digest(value) for name, (_, value) in parts(masked.structure).items()}
    present |= {
        name: digest(value)
        for name, part in keys.items()
        if (value := credential_parts.read(*part["path"])) is not None
    }
    moved = [name for name, part in proposal.parts.items() if part["base"] != present.get(name)]
    if moved:
        raise NotDecided(f"Conflict: {', '.join(moved)} changed since this was proposed. Propose the change again.")
    changes = Changes()
    if others:
        wanted = {name: (tuple(part["path"]), _value(part)) for name, part in others.items()}
        deleted = [name for name, (_, value) in wanted.items() if value is ABSENT]
        known = {**masked.secrets, **(proposal.secrets or {})}
        changes = apply_document(literals.unmask(document_of(wanted), known), delete=deleted)
    return _with_keys(changes, keys)


def _with_keys(changes: Changes, keys: Mapping[str, Any]) -> Changes:
    for name, part in keys.items():
        try:
            section, key = part["path"]
            credential_parts.write(section, key, part["value"], part.get("identity", {}))
        except (ValidationError, LookupError) as error:
            text = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error.args[0])
            raise NotDecided(f"Not possible any more: {name}: {text}") from None
    return changes + Changes(
        tuple(name for name, part in keys.items() if part["base"] is None),
        tuple(name for name, part in keys.items() if part["base"] and part["value"] is not None),
        tuple(name for name, part in keys.items() if part["value"] is None),
    )


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
    """The identities that may not approve what this actor proposes."""
    found = {actor, actor.removeprefix("command:")}
    if user is not None and getattr(user, "pk", None) is not None:
        found.add(f"user:{user.pk}")
    if actor.startswith(KEY_CALLER):
        for key in ApiKey.objects.filter(prefix=actor.removeprefix(KEY_CALLER)):
            found.update(name for name in (key.created_by, key.owner) if name)
    return sorted(found)


def _masked(*, whole: bool) -> Masked:
    masked = masking.whole_document() if whole else masking.masked_document()
    return masked._replace(structure=canonical(masked.structure))


class _Author(NamedTuple):
    actor: Actor
    user: Any


class _Changed:
    """What a change has written. `keys` are those of signatures and revocations too, with their documents before and
    after.
    """

    def __init__(self, before: dict[str, Any], after: Masked, keys: list[tuple[Place, Any, Any]]) -> None:
        self._old, self._new = parts(before), parts(after.structure)
        diff = document_diff(before, after.structure)
        self._keys = {credential_parts.credential_label(*place): (place, old, new) for place, old, new in keys}
        new_keys = {name: place for name, (place, old, _) in self._keys.items() if old is None}
        self._identities = {name: credential_parts.identity(*place) for name, place in new_keys.items()}
        self.secrets = after.secrets
        self.differences = DocumentDiff(
            diff.created | {name: new for name, (_, old, new) in self._keys.items() if old is None},
            diff.changed
            | {
                name: tuple(differences(old, new, place))
                for name, (place, old, new) in self._keys.items()
                if old is not None and new is not None
            },
            diff.deleted | {name: old for name, (_, old, new) in self._keys.items() if new is None},
        )

    def needs_approval(self, actor: str) -> bool:
        return any(needs_approval(*found, actor) for found in self._parts().values())

    def _parts(self) -> dict[str, tuple[Path, Any, Any]]:
        found = self.differences
        names = [name for name in (*found.created, *found.changed, *found.deleted) if name not in self._keys]
        return {
            name: ((self._new.get(name) or self._old[name])[0], _at(self._old, name), _at(self._new, name))
            for name in names
        } | self._keys

    def to_parts(self) -> dict[str, Any]:
        """The parts of the proposal, as ConfigurationProposal stores them."""
        return {
            name: {
                "path": list(path),
                "base": None if old is None else digest(old),
                "value": new,
                **({"identity": self._identities[name]} if name in self._identities else {}),
            }
            for name, (path, old, new) in self._parts().items()
        }

    @property
    def summary(self) -> str:
        """`added crm, key k3m5pq7a; changed billing`."""
        found = self.differences
        groups = {"added": found.created, "changed": found.changed, "removed": found.deleted}
        return "; ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in groups.items() if names)


def _at(parts: Mapping[str, tuple[Path, Any]], name: str) -> Any:
    return parts[name][1] if name in parts else None


def _propose(changed: _Changed, author: _Author) -> ConfigurationProposal:
    actor = author.actor
    with transaction.atomic():
        lock_configuration()
        if ConfigurationProposal.objects.filter(state=_State.WAITING).count() >= MAX_WAITING:
            raise TooManyProposals(f"{MAX_WAITING} changes wait for approval already: decide some of them first")
        proposal = ConfigurationProposal.objects.create(
            author=actor.name[:200],
            identities=identities(actor.name, author.user),
            summary=(actor.note or changed.summary)[:200],
            comment=actor.comment[:500],
            service=only_service(changed.to_parts()),
            parts=changed.to_parts(),
            differences=changed.differences.to_document(),
            secrets=changed.secrets or None,
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
