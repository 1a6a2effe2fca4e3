"""Loading the route table and the API keys from the database."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from routing.authentication.api_keys import ApiKeys
from routing.configuration.faults import ConfigurationError
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
    with django_assert_num_queries(3):
        raw_document()


def test_any_fault_fails_the_whole_load() -> None:
    apply_document(DOCUMENT)
    # As a bulk update or another program writes it, without validation.
    Service.objects.filter(name="mail").update(cache={"tll": 1})
    Target.objects.filter(service__name="files").delete()
    with pytest.raises(ConfigurationError) as error:
        load(lambda _: None)
    message = str(error.value)
    assert "services.mail.cache: unknown key 'tll'" in message
    assert "services.files: a service needs at least one target" in message
    assert "services.crm.headers.Authorization: the environment variable TOKEN is not set" in message


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
