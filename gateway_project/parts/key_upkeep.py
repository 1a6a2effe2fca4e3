"""The upkeep of API keys in the background: their uses are saved, and warnings of their expiry sent."""

from functools import partial

from gateway_project.parts.components import Infrastructure
from routing import signals
from routing.authentication.key_upkeep import KeyUpkeep
from routing.database import key_upkeep
from routing.database.actor import DEFAULT_ACTOR
from routing.models import ApiKey


def open_key_upkeep(infra: Infrastructure) -> KeyUpkeep:
    find_expiring = partial(key_upkeep.warn_of_expiry, _record_expiry)
    return KeyUpkeep(infra.key_usage, key_upkeep.write_uses, find_expiring, infra.realtime.key_expires)


def _record_expiry(key: ApiKey, days: int) -> None:
    """Add the warning to the audit log."""
    signals.operation_performed.send(
        sender=None,
        actor=DEFAULT_ACTOR.name,
        action="key.expires",
        service="",
        before=None,
        after={"name": key.name, "prefix": key.prefix, "days": days},
    )
