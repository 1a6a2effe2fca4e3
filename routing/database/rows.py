"""Writes rows of the configuration only where they differ."""

import json
from typing import Any

from django.db import models

from routing.configuration.document import plain


def write(row: models.Model, fields: dict[str, Any]) -> bool:
    """Save the row if it is new or differs, and return whether it was saved."""
    differing = {name: value for name, value in fields.items() if _normalized(getattr(row, name)) != _normalized(value)}
    for name, value in differing.items():
        setattr(row, name, value)
    if differing or row._state.adding:
        row.save()
        return True
    return False


def _normalized(value: Any) -> str:
    """A value as canonical JSON, for comparison: in Python `1 == True`, in a configuration they differ."""
    return json.dumps(plain(value), sort_keys=True, default=str)
