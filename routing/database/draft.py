"""Loads the configuration as a change would leave it, without making the change."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from django.db import transaction

from routing.configuration.document import Document, canonical
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.values import SecretLookup
from routing.database import masking, revisions
from routing.database.actor import current_actor
from routing.database.config_file import WriteOptions, write_document
from routing.database.document_diff import DocumentDiff, document_diff
from routing.database.loader import load_services
from routing.database.locks import lock_configuration
from routing.database.proposals import NotDecided, make
from routing.database.signing_keys import Unseal
from routing.database.source import ConfigurationSource
from routing.models import ConfigurationProposal, ConfigurationRevision
from routing.router.live import LoadedConfiguration

ChangeConfiguration = Callable[[], Sequence[str]]
"""Changes the configuration in the database, and returns warnings."""


class Draft(NamedTuple):
    """The configuration as it is, and as it would be. `diff` is masked."""

    now: LoadedConfiguration
    after: LoadedConfiguration
    diff: DocumentDiff
    warnings: tuple[str, ...]


def load_draft(change: ChangeConfiguration, secret: SecretLookup, unseal: Unseal) -> Draft:
    """Make the change in a transaction, load what workers would load after it, and roll it back.

    Raises what `change` raises, and Django's DatabaseError.
    """
    with transaction.atomic():
        lock_configuration()
        before, now = canonical(masking.whole_document().structure), _load(secret, unseal)
        warnings = change()
        after = canonical(masking.whole_document().structure)
        draft = Draft(now, _load(secret, unseal), document_diff(before, after), tuple(warnings))
        transaction.set_rollback(True)
    return draft


def apply_file(document: Document, *, prune: bool = False) -> ChangeConfiguration:
    """The change that `config apply` would make. What the document does not contain stays, unless `prune`.

    Raises what `write_document` raises.
    """
    options = WriteOptions(prune=prune, allow_literal_secrets=True)
    delete = None if prune else ()
    return lambda: write_document(document, lambda _: None, options, delete=delete).warnings


def restore_revision(revision: ConfigurationRevision) -> ChangeConfiguration:
    """The change that rolling back to a revision would make. Raises ConfigurationError."""

    def change() -> tuple[str, ...]:
        revisions.rollback(revision, current_actor().name)
        return ()

    return change


def approve_proposal(proposal: ConfigurationProposal) -> ChangeConfiguration:
    """The change that approving a proposal would make. Raises ConfigurationError, also if it is outdated."""

    def change() -> tuple[str, ...]:
        try:
            make(proposal)
        except NotDecided as error:
            raise ConfigurationError([Fault((), str(error))]) from None
        return ()

    return change


def _load(secret: SecretLookup, unseal: Unseal) -> LoadedConfiguration:
    return ConfigurationSource(partial(load_services, secret, lambda _: None, unseal=unseal)).load()
