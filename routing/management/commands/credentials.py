"""List credentials for backends, and encrypt their tokens with the first of CREDENTIAL_KEYS."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routing.authentication.identity_signer import PUBLISHED_SECONDS
from routing.credentials import signing_keys
from routing.credentials.cipher import Cipher
from routing.credentials.identity_keys import encrypt_again, rotate_keys
from routing.credentials.vault import GrantName
from routing.database.actor import command_user
from routing.models import BackendCredential
from routing.signals import increment_version, operation_performed


class Command(BaseCommand):
    help = "List credentials for backends, and encrypt their tokens with the first of CREDENTIAL_KEYS."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="show whose credentials there are, and what failed last; no token")
        actions.add_parser("rotate", help="encrypt all tokens again; afterwards, earlier keys can be removed")
        actions.add_parser("rotate-identity", help="replace the key that signs callers' identities for backends")

    def handle(self, *, action: str, **_: Any) -> None:
        actions = {"list": self._list_all, "rotate": self._rotate_all, "rotate-identity": self._rotate_identity}
        actions[action]()

    def _rotate_identity(self) -> None:
        config = settings.CONFIG
        key = rotate_keys(Cipher(config.credential_keys, config.secret_key))
        increment_version()
        _record("identity_key.rotated", {"kid": key.kid})
        self.stdout.write(f"{key.kid} is published, and signs in {PUBLISHED_SECONDS / 60:g} minutes")

    def _list_all(self) -> None:
        for row in BackendCredential.objects.defer("refresh_token"):
            until = f"{row.fresh_until:%Y-%m-%d %H:%M:%S} UTC" if row.fresh_until else "-"
            self.stdout.write("\t".join((row.service, row.subject, until, row.failure or "-", row.account or "-")))

    def _rotate_all(self) -> None:
        config = settings.CONFIG
        cipher, unreadable = Cipher(config.credential_keys, config.secret_key), 0
        rows = BackendCredential.objects.exclude(refresh_token="")
        for row in rows:
            name = str(GrantName(row.service, row.subject, row.client))
            content = cipher.decrypt(name, row.refresh_token.encode())
            if content is None:
                unreadable += 1
                self.stderr.write(f"{row}: no key decrypts its token")
                continue
            encrypted = cipher.encrypt(name, content).decode()
            # Unless a worker has replaced it meanwhile, with the first key too.
            BackendCredential.objects.filter(pk=row.pk, refresh_token=row.refresh_token).update(refresh_token=encrypted)
        encrypt_again(cipher)
        self.stdout.write(f"{len(rows) - unreadable} tokens encrypted with the first key")
        lost = signing_keys.encrypt_again(cipher)
        if lost:
            self.stderr.write(f"{lost} secrets of signing keys could not be decrypted")
        unreadable += lost
        _record("credential.encrypted", {"tokens": len(rows), "unreadable": unreadable})
        if unreadable:
            raise CommandError(f"{unreadable} tokens could not be decrypted: keep the earlier keys")


def _record(action: str, after: dict[str, object]) -> None:
    """In the audit log."""
    operation_performed.send(None, actor=command_user(), action=action, service="", before=None, after=after)
