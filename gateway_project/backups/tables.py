"""Which tables a backup has, and which of their columns are encrypted in it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from django.db import models

Model = type[models.Model]

LEFT_OUT: Final = frozenset(
    {
        "sessions.Session",
        "usersessions.UserSession",
        "routing.PendingConnection",
    }
)
"""Sessions, and links that are valid for minutes. Whoever was signed in has to sign in again."""
SEALED: Final = {
    "routing.Service": ("headers", "credential"),
    "routing.Route": ("headers", "credential"),
    "routing.Webhook": ("settings",),
    "routing.Issuer": ("settings",),
    "routing.ConfigurationProposal": ("secrets",),
    "routing.ConfigurationRevision": ("secrets",),
}
"""Columns in which secrets may be as they are. Others have digests, or ciphertexts of the same keys."""
MADE_BY_MIGRATIONS: Final = frozenset(
    {
        "contenttypes.ContentType",
        "auth.Permission",
        "auth.Group",
        "auth.Group_permissions",
    }
)
"""A database with rows in these tables alone counts as empty."""


def stored_models(apps: Any) -> Iterator[Model]:
    """The models with a table of their own, many-to-many tables included."""
    for model in cast(Iterable[Model], apps.get_models(include_auto_created=True)):
        if not model._meta.proxy and model._meta.managed:
            yield model


def columns(model: Model) -> list["models.Field[Any, Any]"]:
    return list(model._meta.concrete_fields)
