"""Rows are validated by the same rules as the file, and every change increments the version."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, models, transaction
from django.test import override_settings

from routing import signals
from routing.configuration.document import canonical
from routing.configuration.faults import ConfigurationError
from routing.database.api_keys import issue, revoke
from routing.database.apply import apply_document
from routing.database.loader import current_version, raw_document
from routing.database.named_rows import Changes
from routing.messages.staff_origin import PortalOrigin, StaffOrigin
from routing.models import ApiKey, Route, Service, Target

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9101"


def crm(**fields: Any) -> Service:
    service = Service.objects.create(name="crm", **fields)
    Target.objects.create(service=service, url=URL)
    return service


def errors(row: models.Model) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        row.full_clean()
    return error.value.message_dict


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"cache": {"tll": 1}}, "cache", "unknown key 'tll' (did you mean 'ttl'?)"),
        ({"timeout": {"total": "x"}}, "timeout", "total: must be a duration"),
        ({"rate_limit": "100/w"}, "rate_limit", "'100/w' is not a rate"),
        ({"hosts": ["a b"]}, "hosts", "[0]: 'a b' is not a host name"),
        ({"headers": {"Host": "x"}}, "headers", "Host: this header is set by the gateway"),
        ({"name": "debug"}, "__all__", "'debug' is a reserved word"),
        ({"name": "a b"}, "name", "Enter a valid value."),
    ],
)
def test_a_fault_of_a_service_is_at_its_field(fields: dict[str, Any], field: str, message: str) -> None:
    assert errors(Service(**{"name": "crm", **fields}))[field][0].startswith(message)


def test_a_header_may_refer_to_a_variable_that_is_not_set() -> None:
    Service(name="crm", headers={"Authorization": "env:NOT_SET_HERE"}).full_clean()


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "routing", check=True, dry_run=True, verbosity=0)


def test_two_services_cannot_share_a_host() -> None:
    crm(hosts=["crm.example.com"])
    other = Service(name="other", hosts=["CRM.example.com"])
    assert errors(other)["hosts"] == ["'crm.example.com' is already a host of another service"]


@pytest.mark.parametrize("variable", ["STAFF_HOST", "PORTAL_HOST"])
def test_a_service_cannot_have_the_host_of_staffs_pages_or_of_the_portal(variable: str) -> None:
    staff = StaffOrigin("own.example.com" if variable == "STAFF_HOST" else None)
    portal = PortalOrigin(staff, host="own.example.com" if variable == "PORTAL_HOST" else None)
    portal_settings = msgspec.structs.replace(settings.CONFIG.portal, origin=portal)
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, staff=staff, portal=portal_settings)):
        message = f"'own.example.com' is {variable}, and so no service's"
        assert errors(Service(name="crm", hosts=["OWN.example.com"]))["hosts"] == [message]
        crm = {"targets": [{"url": URL}], "hosts": ["own.example.com"]}
        with pytest.raises(ConfigurationError, match=variable):
            apply_document({"version": 1, "services": {"crm": crm}})


def test_faults_of_targets_and_routes_are_at_their_fields() -> None:
    service = crm()
    assert "must have no user" in errors(Target(service=service, url="http://user:pass@a"))["url"][0]
    assert errors(Route(service=service, path="a"))["path"] == ["must start with '/'"]
    route = Route(service=service, path="/{user}", invalidates=["{usr}"])
    assert errors(route)["invalidates"] == ["[0]: {usr} is not a parameter of the route's path"]


def test_the_database_rejects_an_invalid_name_without_validation() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Service.objects.create(name="not a name")


def test_a_service_cannot_have_a_target_twice() -> None:
    service = crm()
    with pytest.raises(IntegrityError), transaction.atomic():
        Target.objects.create(service=service, url=URL)


@pytest.fixture
def calls() -> Iterator[list[None]]:
    made: list[None] = []

    def note(**_: object) -> None:
        made.append(None)

    signals.configuration_changed.connect(note)
    yield made
    signals.configuration_changed.disconnect(note)


@pytest.mark.django_db(transaction=True)
def test_every_change_increments_the_version_and_calls_back_on_commit(calls: list[None]) -> None:
    service = crm()
    seen = [current_version()]
    route = Route.objects.create(service=service, path="/a")
    seen.append(current_version())
    route.delete()
    seen.append(current_version())
    issue(ApiKey(name="ci"))
    seen.append(current_version())
    service.delete()
    seen.append(current_version())
    assert seen == sorted(set(seen))
    assert calls


@pytest.mark.django_db(transaction=True)
def test_each_transaction_calls_back_once(calls: list[None]) -> None:
    apply_document(DOCUMENT)
    assert len(calls) == 1
    apply_document(changed(auth="required"))
    assert len(calls) == 2


@pytest.mark.django_db(transaction=True)
def test_a_failing_callback_does_not_fail_the_save() -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the loop is closed")

    signals.configuration_changed.connect(fail)
    try:
        crm()
    finally:
        signals.configuration_changed.disconnect(fail)
    assert Service.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_rolled_back_has_no_effect(calls: list[None]) -> None:
    with transaction.atomic():
        crm()
        transaction.set_rollback(True)
    assert (current_version(), calls) == (0, [])


DOCUMENT: dict[str, Any] = {
    "version": 1,
    "services": {
        "crm": {
            "targets": [
                {"url": URL, "weight": 2, "canary": 5, "always_up": True},
                {"url": "http://b", "enabled": False},
            ],
            "hosts": ["crm.example.com"],
            "paths": {"encoded_slash": "pass"},
            "enabled": False,
            "auth": "none",
            "headers": {"Authorization": "env:CRM_TOKEN"},
            "cache": False,
            "cost_per_call": 1,
            "price": {"per_request": 0.002, "currency": "EUR"},
            "routes": [{"path": "/a", "methods": ["GET"], "cache": {"ttl": 1}}, {"path": "/b", "idempotency": True}],
        },
        "mail": {"targets": [{"url": URL}], "fallback": {"body": {"x": 1}}},
    },
}


def changed(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "services": {**DOCUMENT["services"], "crm": {**DOCUMENT["services"]["crm"], **fields}}}


def test_the_rows_match_an_applied_document() -> None:
    assert apply_document(DOCUMENT) == Changes(created=("crm", "mail"))
    assert canonical(raw_document()) == canonical(DOCUMENT)


def test_applying_twice_changes_nothing() -> None:
    apply_document(DOCUMENT)
    version = current_version()
    assert apply_document(DOCUMENT) == Changes()
    assert apply_document(raw_document()) == Changes()
    assert current_version() == version


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": True},
        {"auth": "required"},
        {"cache": True},
        {"cache": None},
        {"hosts": []},
        {"cost_per_call": 2},
        {"price": {"per_request": 0.003, "currency": "EUR"}},
        {"price": False},
        {"targets": [{"url": URL}]},
        {"targets": [{"url": "http://b", "enabled": False}, {"url": URL, "weight": 3}]},
        {"targets": [{"url": "http://b", "enabled": False}, {"url": URL, "weight": 3, "always_up": True}]},
        {"paths": {"trailing_slash": "strict"}},
        {"routes": []},
        {"routes": [{"path": "/b", "idempotency": True}, {"path": "/a", "methods": ["GET"], "cache": {"ttl": 1}}]},
    ],
)
def test_each_kind_of_change_is_written_and_reported(fields: dict[str, Any]) -> None:
    apply_document(DOCUMENT)
    mail = Service.objects.get(name="mail")
    assert apply_document(changed(**fields)) == Changes(updated=("crm",))
    assert canonical(raw_document()) == canonical(changed(**fields))
    assert Service.objects.get(name="mail").pk == mail.pk


def test_true_differs_from_1() -> None:
    apply_document(changed(fallback={"body": 1}))
    assert apply_document(changed(fallback={"body": True})).updated == ("crm",)
    assert apply_document(changed(fallback={"body": 1.0})).updated == ("crm",)


def test_a_fallback_may_be_a_service_that_is_kept_and_is_not_deleted_under_it() -> None:
    services: dict[str, dict[str, Any]] = {
        "crm": {"targets": [{"url": URL}], "fallback": {"service": "mail"}},
        "mail": {"targets": [{"url": URL}]},
    }
    apply_document({"version": 1, "services": services})
    alone = {"version": 1, "services": {"crm": {**services["crm"], "enabled": False}}}
    assert apply_document(alone, delete=()).updated == ("crm",)
    assert raw_document()["services"]["crm"]["fallback"] == {"service": "mail"}
    with pytest.raises(ConfigurationError, match="there is no service 'mail'"):
        apply_document(alone)
    other = {"version": 1, "services": {"files": {"targets": [{"url": URL}]}}}
    with pytest.raises(ConfigurationError, match=r"services\.crm\.fallback\.service: there is no service"):
        apply_document(other, delete=("mail",))
    back = {"targets": [{"url": URL}], "routes": [{"path": "/a", "fallback": {"service": "crm"}}]}
    with pytest.raises(ConfigurationError, match="the fallbacks form a cycle: "):
        apply_document({"version": 1, "services": {"mail": back}}, delete=())
    assert set(raw_document()["services"]) == {"crm", "mail"}


def test_the_forms_refuse_a_fallback_that_is_unknown_the_service_itself_or_closes_a_cycle() -> None:
    apply_document(changed(fallback={"service": "mail"}))
    mail, crm = Service.objects.get(name="mail"), Service.objects.get(name="crm")
    crm.clean()
    for name, problem in (("crm", "form a cycle"), ("mail", "own fallback"), ("gone", "no service 'gone'")):
        mail.fallback = {"service": name}
        with pytest.raises(ValidationError) as refused:
            mail.clean()
        assert problem in str(refused.value.message_dict["fallback"])


def test_a_service_missing_from_the_document_is_deleted_and_its_host_may_move() -> None:
    apply_document(DOCUMENT)
    mail = {"targets": [{"url": URL}], "hosts": ["crm.example.com"]}
    assert apply_document({"version": 1, "services": {"mail": mail}}) == Changes(updated=("mail",), deleted=("crm",))
    assert Route.objects.count() == 0


def test_a_faulty_document_changes_nothing() -> None:
    apply_document(DOCUMENT)
    with pytest.raises(ConfigurationError):
        apply_document({"version": 1, "services": {"new": {"targets": [{"url": URL}]}, "crm": {}}})
    assert canonical(raw_document()) == canonical(DOCUMENT)


def test_only_the_digest_of_a_key_is_stored() -> None:
    key = ApiKey(name="ci", scopes=["crm", "metrics:read"])
    secret = issue(key)
    row = ApiKey.objects.values().get()
    assert secret.startswith(f"gw_{row['prefix']}_")
    assert secret not in str(row)
    assert secret.split("_", 2)[2] not in str(row)


def test_the_scopes_of_a_key_are_validated() -> None:
    with pytest.raises(ValidationError):
        issue(ApiKey(name="ci", scopes=["a b"]))
    with pytest.raises(ValidationError):
        issue(ApiKey(name="ci", scopes="crm"))


def test_a_key_is_revoked_once() -> None:
    key = ApiKey(name="ci")
    issue(key)
    assert revoke([key]) == 1
    assert revoke([key]) == 0
