"""Watches in the database: claims, and what is written and read back."""

import asyncio

import msgspec
import pytest

from routing.credentials.database import DatabaseVault
from routing.credentials.vault import GrantName, GrantStatus
from routing.models import BackendCredential, Watch
from routing.watches.database import DatabaseWatches, expedite, record_of
from routing.watches.record import Superseded, Wanted
from routing.watches.store import LEASE_SECONDS, Account

pytestmark = pytest.mark.django_db(transaction=True)
NOW = 1_770_000_000.0
WANTED = Wanted("gmail", "service", "ann@example.com", "mail", "digest")


async def test_one_of_many_claims_a_watch_until_its_term_ends() -> None:
    store = DatabaseWatches()
    await store.add([WANTED, WANTED])
    await store.add([WANTED])
    (record,) = await store.load()
    claims = [await store.claim(record.pk, owner, NOW) for owner in "abc"]
    assert claims == [record, None, None]
    assert not await store.save(record, "b")
    assert await store.claim(record.pk, "b", NOW + LEASE_SECONDS - 1) is None
    await store.keep(record.pk, "a", NOW + LEASE_SECONDS - 1)
    assert await store.claim(record.pk, "b", NOW + LEASE_SECONDS + 1) is None
    assert await store.claim(record.pk, "b", NOW + 3 * LEASE_SECONDS) is not None
    assert not await store.save(record, "a")
    await store.release(record.pk, "b")
    assert await store.claim(record.pk, "c", NOW) is not None
    await store.delete(record.pk, "a")
    assert len(await store.load()) == 1
    await store.delete(record.pk, "c")
    assert await store.load() == []


async def test_a_record_is_read_as_it_was_saved() -> None:
    store = DatabaseWatches()
    await store.add([WANTED])
    (record,) = await store.load()
    changed = msgspec.structs.replace(
        record, channel="c", superseded=(Superseded("mail", "b", "r", 5.0, 1),), expires_at=NOW, failures=2, stale=True
    )
    await store.claim(record.pk, "a", NOW)
    assert await store.save(changed, "a")
    assert await store.load() == [changed]
    assert await asyncio.to_thread(lambda: expedite(list(Watch.objects.all()))) == 1


def test_what_another_program_has_written_is_left_out() -> None:
    row = Watch(pk=1, webhook="gmail", superseded=[{"bad": 1}])
    assert record_of(row).superseded == ()


async def test_accounts_are_those_that_are_connected_or_have_been_used() -> None:
    def rows() -> None:
        for subject, token in (("caller:a", "secret"), ("caller:b", ""), ("service", "secret")):
            BackendCredential.objects.create(service="mail", subject=subject, client="c", refresh_token=token)

    await asyncio.to_thread(rows)
    assert [account.subject for account in await DatabaseWatches().accounts(["mail"])] == ["caller:a"]


async def test_the_tenant_of_an_account_and_of_its_watch_is_kept() -> None:
    vault, store = DatabaseVault(), DatabaseWatches()
    await vault.connect(GrantName("mail", "caller:a", "c"), b"secret", "", NOW, "acme")
    (account,) = await store.accounts(["mail"])
    assert account == Account("mail", "caller:a", NOW, "acme")
    await vault.report(GrantName("mail", "caller:a", "c"), GrantStatus(NOW, "", NOW, tenant="other"))
    assert (await store.accounts(["mail"]))[0].tenant == "other"
    await store.add([msgspec.structs.replace(WANTED, tenant="acme")])
    (record,) = await store.load()
    assert record.tenant == "acme"
    await store.claim(record.pk, "a", NOW)
    assert await store.save(msgspec.structs.replace(record, tenant="other"), "a")
    assert (await store.load())[0].tenant == "other"
