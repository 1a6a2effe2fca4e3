"""Create, list, rotate and revoke the keys of programs that sign their requests (RFC 9421)."""

import json
import time
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.configuration.values import duration
from routing.credentials.cipher import Cipher
from routing.credentials.signing_keys import issue, revoke, rotate
from routing.database.actor import acting_as, command_user
from routing.database.proposals import Proposed
from routing.keys.scopes import require_known
from routing.management.approval import add_emergency, attempted, waits
from routing.models import Consumer, SigningKey
from routing.models.faults import fault_lines

_SETTLE_SECONDS: Final = 1.0
"""How long workers take at most to load a change. A new secret is printed after that, so that it is valid at once."""


class Command(BaseCommand):
    help = "Create, list, rotate and revoke the keys of programs that sign their requests (RFC 9421)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="add a key; a generated secret is printed once, on the last line")
        create.add_argument("keyid", help="what signatures name the key by")
        create.add_argument("--consumer", required=True, help="the consumer whose key it is")
        create.add_argument("--algorithm", required=True, choices=[name.value for name in SignatureAlgorithm])
        create.add_argument(
            "--scope", action="append", dest="scopes", help="a scope of the key; repeatable; none: every service"
        )
        create.add_argument("--expires", help="its lifetime: 12h, 90d")
        add_emergency(create)
        rotation = actions.add_parser("rotate", help="replace a key by another one with the same id")
        rotation.add_argument("keyid")
        rotation.add_argument("--grace", default="24h", help="how long the present key stays valid: 30m, 24h; 0: not")
        for action in (create, rotation):
            action.add_argument("--public-key", type=Path, help="a file with the public key in PEM")
            action.add_argument("--secret", default="", help="env:NAME or file:/PATH; by default, a secret is made")
        actions.add_parser("list", help="list all keys, without secrets").add_argument("--json", action="store_true")
        actions.add_parser("revoke", help="end a key at once").add_argument("keyid")

    def handle(self, *, action: str, **options: Any) -> None:
        with acting_as(command_user()):
            try:
                getattr(self, f"_{action}")(**options)
            except ValidationError as error:
                raise CommandError(fault_lines(error)) from None
            except ValueError as fault:
                raise CommandError(str(fault)) from None

    def _create(
        self, *, keyid: str, scopes: list[str] | None, expires: str | None, emergency: str | None, **options: Any
    ) -> None:
        consumer = Consumer.objects.filter(name=options["consumer"]).first()
        if consumer is None:
            raise CommandError(f"there is no consumer {options['consumer']!r}")
        require_known(scopes or ())
        key = SigningKey(
            keyid=keyid,
            consumer=consumer,
            algorithm=options["algorithm"],
            public_key=_read(options["public_key"]),
            scopes=scopes,
            expires_at=expires and timezone.now() + timedelta(seconds=duration(expires)),
        )
        made = attempted(lambda: issue(key, _cipher(), options["secret"]), "signingkey create", emergency)
        if isinstance(made, Proposed):
            self._print_secret(f"{key} of {consumer} is valid once it is approved.", made.result)
            waits(made.proposal)
        self._print_secret(f"Created {key} of {consumer}.", made)

    def _rotate(self, *, keyid: str, grace: str, public_key: Path | None, secret: str, **_options: Any) -> None:
        key = SigningKey.objects.filter(keyid=keyid, valid_until=None).first()
        if key is None:
            raise CommandError(f"there is no active key {keyid!r}")
        period = timedelta(seconds=duration(grace))
        _, generated = rotate(key, _cipher(), period, public_key=_read(public_key), secret=secret)
        end = timezone.now() + period
        until = f"is valid until {end:%Y-%m-%d %H:%M:%S} UTC" if period else "is refused from now on"
        time.sleep(_SETTLE_SECONDS)
        self._print_secret(f"Rotated {keyid}. The old key {until}.", generated)

    def _revoke(self, *, keyid: str, **_: Any) -> None:
        if not revoke(keyid):
            raise CommandError(f"there is no active key {keyid!r}")
        self.stdout.write(f"revoked {keyid}")

    def _list(self, *, json: bool, **_: Any) -> None:
        rows = [_describe(key) for key in SigningKey.objects.select_related("consumer")]
        if json:
            self.stdout.write(_json(rows))
            return
        for row in rows:
            self.stdout.write("\t".join(str(value or "-") for value in row.values()))

    def _print_secret(self, text: str, secret: str) -> None:
        self.stdout.write(f"{text} The secret is shown only this once:" if secret else text)
        if secret:
            self.stdout.write(secret)


def _cipher() -> Cipher:
    return Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key)


def _read(path: Path | None) -> str:
    try:
        return "" if path is None else path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"{path} cannot be read as a public key in PEM") from None


def _describe(key: SigningKey) -> dict[str, Any]:
    return {
        "keyid": key.keyid,
        "state": key.state(),
        "algorithm": key.algorithm,
        "consumer": key.consumer.name,
        "scopes": None if key.scopes is None else ",".join(map(str, key.scopes)),
        "until": f"{key.until:%Y-%m-%dT%H:%M:%SZ}" if key.until else None,
    }


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=2)
