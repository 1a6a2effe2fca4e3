"""Loading the route table and the API keys from the database."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from routing.authentication.api_keys import ApiKeys
from routing.database.api_keys import issue, revoke
from routing.database.apply import apply_document
from routing.database.loader import current_version, load, raw_document
from routing.models import ApiKey, Service, Target
from routing.router.policy import RoutePolicy

pytestmark = pytest.mark.django_db

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "services": {
        name: {"targets": [{"url": "http://a"}], "headers": {"Authorization": "env:TOKEN"}, "routes": [{"path": "/a"}]}
        for name in ("crm", "mail", "files")
    },
}


def secret(name: str) -> str | None:
    return "t0ken" if name == "TOKEN" else None


def test_an_empty_database_gives_an_empty_table() -> None:
    loaded = load(secret)
    assert (loaded.table.services, loaded.table.version, loaded.keys) == ({}, 0, ())


def test_the_table_has_its_version_and_resolved_headers() -> None:
    apply_document(DOCUMENT)
    table = load(secret).table
    assert list(table.services) == ["crm", "files", "mail"]
    assert table.version == current_version() > 0
    assert table.match("crm", "GET", b"/a").policy.headers == ((b"authorization", b"t0ken"),)
    assert "t0ken" not in str(raw_document())


def test_equal_rows_load_equal_configurations_at_any_version() -> None:
    apply_document(DOCUMENT)
    first = load(secret)
    Service.objects.get(name="crm").save()
    second = load(secret)
    assert first == second
    assert first.table.version < second.table.version


def test_the_number_of_queries_is_independent_of_the_number_of_services(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    apply_document(DOCUMENT)
    with django_assert_num_queries(7):
        raw_document()


def test_a_faulty_service_is_out_of_service_and_harms_no_other() -> None:
    apply_document(DOCUMENT)
    # As a bulk update or another program writes it, without validation.
    Service.objects.filter(name="mail").update(cache={"tll": 1})
    Target.objects.filter(service__name="files").delete()
    loaded = load(secret)
    faults = {name: service.faults for name, service in loaded.table.services.items()}
    assert faults == {
        "crm": (),
        "files": ("a service needs at least one target",),
        "mail": (faults["mail"][0],),
    }
    assert faults["mail"][0].startswith("cache: unknown key 'tll'")
    assert [service.is_out for service in loaded.table.services.values()] == [False, True, True]
    assert loaded.invalid == {"files", "mail"}


def test_a_missing_secret_is_a_fault_but_no_invalid_configuration() -> None:
    apply_document(DOCUMENT)
    Service.objects.filter(name="mail").update(headers=None)
    loaded = load(lambda _: None)
    assert [name for name, service in loaded.table.services.items() if service.is_out] == ["crm", "files"]
    assert loaded.table.services["crm"].faults == ("headers.Authorization: the environment variable TOKEN is not set",)
    assert loaded.invalid == frozenset()


def test_a_host_of_two_services_belongs_to_the_first() -> None:
    apply_document(DOCUMENT)
    Service.objects.all().update(hosts=["one.example"])
    table = load(secret).table
    assert [name for name, service in table.services.items() if service.is_out] == ["files", "mail"]
    first = table.by_host("one.example")
    assert first is not None
    assert first.name == "crm"


def corrupt(change: str) -> None:
    """Write what Django's constraints would not let through, as a damaged file or another program might."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE {change}")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")


OF_MAIL: Final = "WHERE service_id = (SELECT id FROM routing_service WHERE name = 'mail')"


@pytest.mark.parametrize(
    "change",
    [
        "routing_service SET cache = '{not json' WHERE name = 'mail'",
        "routing_service SET hosts = '7' WHERE name = 'mail'",
        "routing_service SET hosts = '[7, {}]' WHERE name = 'mail'",
        "routing_service SET auth = 'nobody' WHERE name = 'mail'",
        "routing_service SET headers = '[1, 2]' WHERE name = 'mail'",
        "routing_service SET max_concurrency = 'many' WHERE name = 'mail'",
        "routing_service SET timeout = '{\"from_the_future\": 1}' WHERE name = 'mail'",
        f"routing_route SET methods = '{{' {OF_MAIL}",
        f"routing_route SET auth = 'x' {OF_MAIL}",
        f"routing_route SET path = X'00ff' {OF_MAIL}",
        f"routing_target SET url = 'ftp://x' {OF_MAIL}",
        f"routing_target SET weight = 'x' {OF_MAIL}",
    ],
)
def test_a_corrupt_row_takes_its_own_service_out(change: str) -> None:
    apply_document(DOCUMENT)
    corrupt(change)
    loaded = load(secret)
    assert [name for name, service in loaded.table.services.items() if service.is_out] == ["mail"]
    assert loaded.invalid == {"mail"}


def test_a_service_whose_name_is_corrupt_is_reported_and_left_out() -> None:
    apply_document(DOCUMENT)
    corrupt("routing_service SET name = 'a b' WHERE name = 'mail'")
    loaded = load(secret)
    assert list(loaded.table.services) == ["crm", "files"]
    assert loaded.faults[0].startswith("'a b' is not a valid name")


@pytest.mark.parametrize(
    "change",
    [
        "scopes = '\"crm\"'",
        "scopes = '5'",
        "scopes = '{not json'",
        "scopes = '[1]'",
        "expires_at = 'never'",
        "expires_at = '2030-13-45 99:99:99'",
    ],
)
def test_a_corrupt_key_is_not_accepted_and_harms_no_other(change: str) -> None:
    bad, good = ApiKey(name="bad", scopes=["crm"]), ApiKey(name="good", scopes=["crm"])
    issue(bad)
    issue(good)
    corrupt(f"routing_apikey SET {change} WHERE name = 'bad'")
    loaded = load(secret)
    assert [record.name for record in loaded.keys] == ["good"]
    assert loaded.faults[0].startswith(f"API key gw_{bad.prefix} cannot be read")


def test_rows_created_without_the_decoder_have_the_defaults() -> None:
    service = Service.objects.create(name="crm")
    Target.objects.create(service=service, url="http://a")
    assert load(secret).table.services["crm"].policy == RoutePolicy()


def test_active_keys_are_found_and_revoked_ones_are_not() -> None:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    key = issue(ApiKey(name="ci", scopes=["crm"], tenant="acme", expires_at=expires))
    revoked = ApiKey(name="old")
    old = issue(revoked)
    revoke([revoked])
    keys = ApiKeys(load(secret).keys)
    caller = keys.find(key, 0.0)
    assert caller is not None
    assert (caller.tenant, caller.scopes, caller.expires) == ("acme", frozenset({"crm"}), expires.timestamp())
    assert keys.find(old, 0.0) is None
    assert keys.find(key, expires.timestamp()) is None


def test_a_key_with_null_scopes_differs_from_one_with_no_scopes() -> None:
    issue(ApiKey(name="any"))
    issue(ApiKey(name="none", scopes=[]))
    assert {record.name: record.scopes for record in load(secret).keys} == {"any": None, "none": frozenset()}
