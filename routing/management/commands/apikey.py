"""Create, list, show, rotate and revoke API keys."""

import json
import re
import time
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from routing.authentication.key_form import ENVIRONMENTS, parse_prefix
from routing.caller import EVERY_SERVICE
from routing.database.actor import acting_as, command_user
from routing.database.api_keys import by_prefix, issue, revoke, rotate
from routing.database.proposals import Proposed
from routing.keys.document import describe, summary, table
from routing.keys.scopes import require_known
from routing.management.approval import add_emergency, attempted, submitted, waits
from routing.models import ApiKey, Consumer
from routing.models.faults import fault_lines

_AGE: Final = re.compile(r"([0-9]{1,5})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_SETTLE_SECONDS: Final = 1.0
"""How long workers take at most to load a change. A new secret is printed after that, so that it is valid at once."""
_DEFAULT_GRACE: Final = "24h"
_NOT_EMPTY: Final = ("tenant", "expires", "consumer", "owner")


class Command(BaseCommand):
    help = "Create, list, show, rotate and revoke API keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="create a key; it is printed once, alone on the last line")
        _add_create_arguments(create)
        listing = actions.add_parser("list", help="list all keys, without their secrets")
        listing.add_argument(
            "search", nargs="?", default="", help="a prefix, or part of a name, owner, consumer or author"
        )
        show = actions.add_parser("show", help="show one key: its limits, its use and its replaced secrets")
        rotation = actions.add_parser("rotate", help="give a key a new secret, printed once, alone on the last line")
        rotation.add_argument(
            "--grace",
            default=_DEFAULT_GRACE,
            help="how long the present secret stays valid, at most 90d: 30m, 24h, 7d; 0: every old secret ends at once",
        )
        rotation.add_argument("--expires", help="replace the key's lifetime, from now on: 90d")
        revocation = actions.add_parser("revoke", help="revoke a key")
        for action in (show, rotation, revocation):
            action.add_argument("prefix", help="the key's prefix, as shown by `list`")
        for action in (create, rotation):
            add_emergency(action)
        for action in (create, listing, show, rotation, revocation):
            action.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *, action: str, **options: Any) -> None:
        with acting_as(command_user()):
            getattr(self, f"_{action}")(**options)

    def _create(
        self, *, as_json: bool, expires: str | None, ip: dict[str, list[str]], emergency: str | None, **options: Any
    ) -> None:
        _require_values(options | {"expires": expires})
        key = ApiKey(
            name=options["name"].strip(),
            scopes=_scopes(options["scopes"] or [], options["all_services"]),
            tenant=options["tenant"] or "",
            owner=options["owner"] or "",
            consumer=_consumer(options["consumer"]) if options["consumer"] else None,
            environment=options["environment"],
            methods=options["methods"],
            ip=ip or None,
            expires_at=expires and timezone.now() + _age(expires),
        )
        try:
            secret = attempted(lambda: issue(key), "apikey create", emergency)
        except ValidationError as error:
            raise CommandError(fault_lines(error)) from None
        if isinstance(secret, Proposed):
            self._print_secret(f"{key} is valid once it is approved.", key, secret.result, as_json)
            waits(secret.proposal)
        try:
            self._print_secret(f"Created {key}.", key, secret, as_json)
        except OSError:  # nobody has seen it
            revoke([key])
            raise

    def _list(self, *, search: str, as_json: bool, **_: Any) -> None:
        now, keys = timezone.now(), ApiKey.objects.select_related("consumer").prefetch_related("retired")
        if search:
            words = Q(prefix__startswith=search.lower())
            for field in ("name", "owner", "consumer__name", "created_by"):  # what the list shows
                words |= Q(**{f"{field}__icontains": search})
            prefix = parse_prefix(search)
            keys = keys.filter(words | Q(prefix=prefix) if prefix else words)
        found = list(keys)
        if as_json:
            self._print_json([describe(key, now) for key in found])
        elif found:
            self.stdout.write(table([summary(key, now) for key in found]))

    def _show(self, *, prefix: str, as_json: bool, **_: Any) -> None:
        document = describe(_key(prefix), timezone.now())
        if as_json:
            self._print_json(document)
            return
        for name, value in document.items():
            shown = json.dumps(value) if isinstance(value, dict | list) else "-" if value in (None, "") else value
            self.stdout.write(f"{name:<18} {shown}")

    def _rotate(
        self, *, prefix: str, grace: str, expires: str | None, as_json: bool, emergency: str | None, **_: Any
    ) -> None:
        _require_values({"expires": expires})
        key, period = _key(prefix), timedelta() if grace == "0" else _age(grace)
        ends = timezone.now() + _age(expires) if expires else None
        try:
            secret = submitted(lambda: rotate(key, period, ends), "apikey rotate", emergency)
        except ValueError as fault:
            raise CommandError(f"{key} cannot be rotated: {fault}") from None
        end = timezone.now() + period
        time.sleep(_SETTLE_SECONDS)
        until = "is refused from now on" if not period else f"is valid until {end:%Y-%m-%d %H:%M:%S} UTC"
        self._print_secret(f"Rotated {key}. The old secret {until}.", _key(prefix), secret, as_json)

    def _revoke(self, *, prefix: str, as_json: bool, **_: Any) -> None:
        key = by_prefix(prefix)
        if key is None or not revoke([key]):
            raise CommandError(f"no active key has the prefix {_hidden(prefix)!r}")
        if as_json:
            self._print_json(describe(key, timezone.now()))
        else:
            self.stdout.write(f"revoked {_hidden(prefix)}")

    def _print_secret(self, text: str, key: ApiKey, secret: str, as_json: bool) -> None:
        if as_json:
            self._print_json({**describe(key, timezone.now()), "key": secret})
        else:
            self.stdout.write(f"{text} The key is shown only this once:")
            self.stdout.write(secret)
        self.stdout.flush()

    def _print_json(self, value: object) -> None:
        self.stdout.write(json.dumps(value, indent=2))


def _add_create_arguments(create: ArgumentParser) -> None:
    create.add_argument("name", help="the key's name, shown in lists")
    create.add_argument(
        "--scope",
        action="append",
        dest="scopes",
        help="a service's name, a scope that a service requires, or metrics:read and the like; repeatable",
    )
    create.add_argument("--all-services", action="store_true", help="the key may use every service")
    create.add_argument("--tenant", help="the tenant whose cached responses it may share")
    create.add_argument("--expires", help="its lifetime: 12h, 90d, 52w; without it, the key does not expire")
    create.add_argument("--consumer", help="the consumer whose key it is")
    create.add_argument("--owner", help="the person or team that answers for the key")
    create.add_argument("--environment", default="", choices=ENVIRONMENTS, help="refused where another one is set")
    create.add_argument("--method", action="append", dest="methods", help="a method it may be used with; repeatable")
    create.set_defaults(ip={})
    for name in ("allow", "deny"):
        create.add_argument(
            f"--{name}",
            action=_NetworkAction,
            metavar="NETWORK",
            help=f"an address or network from which it may {'not ' if name == 'deny' else ''}be used; repeatable",
        )


class _NetworkAction(Action):
    """Appends to the list of its own name in `ip`."""

    def __call__(
        self,
        parser: ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: Namespace,
        values: Any,
        _option: Any = None,
    ) -> None:
        namespace.ip = {**namespace.ip, self.dest: [*namespace.ip.get(self.dest, ()), values]}


def _require_values(options: Mapping[str, Any]) -> None:
    """Raises CommandError for an empty option, such as one of a shell's variable that is not set: a key without its
    consumer or its end would be worth more than was meant.
    """
    for name in _NOT_EMPTY:
        if options.get(name) == "":
            raise CommandError(f"--{name} is empty")


def _key(prefix: str) -> ApiKey:
    key = by_prefix(prefix)
    if key is None:
        raise CommandError(f"no key has the prefix {_hidden(prefix)!r}")
    return key


def _consumer(name: str) -> Consumer:
    consumer = Consumer.objects.filter(name=name).first()
    if consumer is None:
        raise CommandError(f"there is no consumer {name!r}")
    return consumer


def _hidden(text: str) -> str:
    """What was given, unless it is a whole key: its secret belongs into no log."""
    prefix = parse_prefix(text)
    return prefix if prefix and len(text) > len(f"gw_live_{prefix}") else text


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
    return timedelta(seconds=int(form[1]) * _SECONDS[form[2]])
