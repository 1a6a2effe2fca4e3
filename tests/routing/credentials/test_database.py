"""Refresh tokens in the database: stored, moved to no other owner, encrypted again with a new key."""

import io
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from routing.credentials import database
from routing.credentials.cipher import Cipher
from routing.credentials.database import DatabaseVault
from routing.credentials.vault import GrantName, GrantStatus, VaultUnavailable
from routing.models import BackendCredential
from tests.routing.credentials.test_rules import KEYS, NOW

pytestmark = pytest.mark.django_db(transaction=True)
ANN = GrantName("mail", "caller:ann", "client-1")


async def test_a_token_is_replaced_and_its_state_kept_beside_it() -> None:
    vault = DatabaseVault()
    assert await vault.load(ANN) is None
    await vault.report(ANN, GrantStatus(0.0, "timeout", NOW))
    assert await vault.load(ANN) is None
    for value in (b"first", b"second"):
        await vault.save(ANN, value)
        assert await vault.load(ANN) == value
    await vault.report(ANN, GrantStatus(NOW + 60, "", NOW))
    row = await BackendCredential.objects.aget()
    assert (row.refresh_token, row.failure, row.fresh_until is not None) == ("second", "", True)
    assert await vault.load(ANN._replace(subject="caller:bob")) is None
    assert await vault.load(ANN._replace(client="client-2")) is None
    await vault.remove(ANN)
    assert await vault.load(ANN) is None


async def test_an_account_of_an_earlier_client_is_removed_by_the_next() -> None:
    vault = DatabaseVault()
    await vault.connect(ANN, b"old", "ann@example.com", NOW)
    await vault.connect(ANN._replace(client="client-2"), b"new", "ann@example.com", NOW)
    assert [row.refresh_token async for row in BackendCredential.objects.all()] == ["new"]


async def test_a_database_that_is_away_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: GrantName) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(database, "_load", fail)
    with pytest.raises(VaultUnavailable):
        await DatabaseVault().load(ANN)


def run(action: str, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> str:
    output = io.StringIO()
    config = msgspec.structs.replace(settings.CONFIG, credential_keys=keys)
    monkeypatch.setattr(settings, "CONFIG", config)
    call_command("credentials", action, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def store(key: str) -> Any:
    secret = settings.CONFIG.secret_key
    value = Cipher((key,), secret).encrypt(str(ANN), b"the token").decode()
    return BackendCredential.objects.create(**ANN._asdict(), refresh_token=value, failure="invalid_grant")


def test_tokens_are_encrypted_again_with_the_first_key(monkeypatch: pytest.MonkeyPatch) -> None:
    row = store(KEYS[0])
    assert "1 tokens" in run("rotate", (KEYS[1], KEYS[0]), monkeypatch)
    row.refresh_from_db()
    assert Cipher((KEYS[1],), "another").decrypt(str(ANN), row.refresh_token.encode()) == b"the token"
    with pytest.raises(CommandError, match="1 tokens could not be decrypted"):
        run("rotate", (KEYS[2],), monkeypatch)


def test_the_list_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    row = store(KEYS[0])
    text = run("list", (KEYS[0],), monkeypatch)
    assert "invalid_grant" in text
    assert row.refresh_token not in text
