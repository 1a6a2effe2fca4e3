"""Approval of what commands change: the rule is that of the pages and the API, and `--emergency` the way out."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from django.core.management.base import CommandError

from routing import signals
from routing.configuration_errors import NotProposable, TooManyProposals
from routing.database import proposals
from routing.database.actor import command_user, commenting
from routing.database.proposals import Proposed
from routing.models import ConfigurationProposal

T = TypeVar("T")
PROPOSED: Final = 5
"""Exit status: nothing has changed, a proposal waits for approval."""
MAX_REASON: Final = 400


def add_emergency(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--emergency",
        metavar="REASON",
        help=f"with CONFIG_APPROVAL, make the change at once, on record; without it, the command makes a proposal and "
        f"exits with {PROPOSED}",
    )


def submitted(change: Callable[[], T], command: str, emergency: str | None, *, whole: bool = False) -> T:
    """What `change` returns, if it was made. Within acting_as.

    Raises CommandError if it waits for approval: nothing has changed then.
    """
    result = attempted(change, command, emergency, whole=whole)
    if isinstance(result, Proposed):
        waits(result.proposal)
    return result


def attempted(change: Callable[[], T], command: str, emergency: str | None, *, whole: bool = False) -> T | Proposed[T]:
    """The same for a command that has something to say of a change that waits. `command` is on record."""
    if emergency is not None and proposals.is_required():
        return _in_emergency(change, command, emergency.strip())
    try:
        result = proposals.submit(change, whole=whole)
    except (TooManyProposals, NotProposable) as error:
        raise CommandError(f"nothing was changed: {error}") from None
    if isinstance(result, Proposed):
        parts = {"proposal": result.proposal.pk, "parts": list(result.proposal.parts)}
        _record("configuration.propose", parts)
    return result


def waits(proposal: ConfigurationProposal) -> NoReturn:
    """Raises CommandError."""
    raise CommandError(
        f"nothing has changed yet: CONFIG_APPROVAL is on, and proposal {proposal.pk} ({proposal.summary}) waits until "
        "somebody else who may configure the gateway approves it in the admin, under Proposals.\n"
        "If nobody can: --emergency REASON makes the change at once, and the reason is on record",
        returncode=PROPOSED,
    )


def _in_emergency(change: Callable[[], T], command: str, reason: str) -> T:
    if not 0 < len(reason) <= MAX_REASON:
        raise CommandError(f"--emergency needs a reason of 1 to {MAX_REASON} characters")
    with commenting(f"emergency: {reason}"):
        result = change()
    _record("configuration.emergency", {"command": command, "reason": reason})
    return result


def _record(action: str, after: dict[str, object]) -> None:
    signals.operation_performed.send(None, actor=command_user(), action=action, service="", before=None, after=after)
