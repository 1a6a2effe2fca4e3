"""Create, list and revoke API keys."""

import re
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing.caller import EVERY_SERVICE
from routing.database.actor import acting_as, command_user
from routing.database.api_keys import issue, revoke
from routing.key_scopes import require_known
from routing.models import ApiKey

_AGE: Final = re.compile(r"(\d{1,5})([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 24 * 7}


class Command(BaseCommand):
    help = "Create, list and revoke API keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="create a key; it is printed once, alone on the last line")
        create.add_argument("name", help="the key's name, shown in lists")
        create.add_argument(
            "--scope",
            action="append",
            dest="scopes",
            help="a service's name, a scope that a service requires, or metrics:read and the like; repeatable",
        )
        create.add_argument("--all-services", action="store_true", help="the key may use every service")
        create.add_argument("--tenant", default="", help="the tenant whose cached responses it may share")
        create.add_argument("--expires", help="its lifetime: 12h, 90d, 52w; without it, the key does not expire")
        actions.add_parser("list", help="list all keys, without their secrets")
        actions.add_parser("revoke", help="revoke a key").add_argument(
            "prefix", help="the key's prefix, as shown by `list`"
        )

    def handle(self, *, action: str, **options: Any) -> None:
        with acting_as(command_user()):
            getattr(self, f"_{action}")(**options)

    def _create(
        self, *, name: str, scopes: list[str] | None, all_services: bool, tenant: str, expires: str | None, **_: Any
    ) -> None:
        key = ApiKey(
            name=name,
            scopes=_scopes(scopes or [], all_services),
            tenant=tenant,
            expires_at=expires and timezone.now() + _age(expires),
        )
        try:
            secret = issue(key)
        except ValidationError as error:
            raise CommandError("\n".join(error.messages)) from None
        self.stdout.write(f"Created {key}. The key is shown only this once:")
        self.stdout.write(secret)

    def _list(self, **_: Any) -> None:
        now = timezone.now()
        for key in ApiKey.objects.all():
            scopes = "services that require no scopes" if key.scopes is None else " ".join(key.scopes) or "none"
            self.stdout.write("  ".join([key.prefix, f"{key.name:<24}", f"{key.state(now):<8}", scopes]))

    def _revoke(self, *, prefix: str, **_: Any) -> None:
        keys = ApiKey.objects.filter(prefix=prefix.removeprefix("gw_"), revoked_at=None)
        if not revoke(keys):
            raise CommandError(f"no active key has the prefix {prefix!r}")
        self.stdout.write(f"revoked {prefix}")


def _scopes(scopes: list[str], all_services: bool) -> list[str]:
    if not scopes and not all_services:
        raise CommandError("name what the key may use: --scope SERVICE (repeatable), or --all-services")
    try:
        require_known(scopes)
    except ValueError as fault:
        raise CommandError(str(fault)) from None
    return list(dict.fromkeys([EVERY_SERVICE] * all_services + scopes))


def _age(text: str) -> timedelta:
    form = _AGE.fullmatch(text)
    if form is None or not int(form[1]):
        raise CommandError(f"{text!r} is not a duration such as 12h, 90d or 52w")
    return timedelta(hours=int(form[1]) * _HOURS[form[2]])
