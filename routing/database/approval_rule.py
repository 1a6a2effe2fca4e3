"""Which changes need approval: one rule for all pages, the API and commands. Pure.

What lets more through, or is handled otherwise, waits. What only takes away is made at once: a key that was stolen must
not wait for a second person.
"""

from typing import Any

from routing.configuration.faults import Path
from routing.database.credential_parts import REVOCATIONS, REVOKED_BY, SECTIONS, narrows


def needs_approval(path: Path, old: Any, new: Any, actor: str = "") -> bool:
    """`path` begins with the section of the document; `old` and `new` are None where there is nothing.

    `actor` makes the change: who has revoked tokens may take that back alone.
    """
    section = path[0]
    if section == REVOCATIONS:
        return old is not None and old[REVOKED_BY] != actor
    if section in SECTIONS:
        return old is None or not narrows(old, new)
    return not (section == "consumers" and _is_disabled(old, new))


def _is_disabled(old: Any, new: Any) -> bool:
    """Whether a consumer is disabled, and nothing else."""
    if old is None or new is None or new.get("enabled", True):
        return False
    return {**old, "enabled": False} == {**new, "enabled": False}
