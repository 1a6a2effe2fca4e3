"""Two members of staff at one form: the second one to save is told, and undoes nothing without knowing."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from routing.database.actor import acting_as
from routing.database.api_keys import issue
from routing.database.apply import apply_document
from routing.models import (
    ApiKey,
    Consumer,
    ConsumerIdentity,
    Member,
    Route,
    Service,
    ServiceRole,
    SigningKey,
    Target,
)
from tests.metrics.harness import Harness, ok
from tests.routing.pages import browser_form
from tests.routing.test_admin import both, errors, yaml

pytestmark = pytest.mark.django_db(transaction=True)

SERVICE = "/admin/routing/service/{}/change/"
WARNING = "was changed by somebody else since this page was opened"
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "services": {
        "crm": {
            "targets": [{"url": "http://127.0.0.1:9101"}, {"url": "http://127.0.0.1:9102"}],
            "routes": [{"path": "/a"}],
        }
    },
}


@pytest.fixture
def crm(harness: Harness) -> Service:
    harness.serve(ok())
    apply_document(DOCUMENT)
    return Service.objects.get()


def change_by_ada(crm: Service) -> None:
    with acting_as("staff:ada"):
        crm.timeout = {"total": "5s"}
        crm.save()


def test_a_form_that_is_older_than_the_service_undoes_nothing(root: Client, crm: Service) -> None:
    url = SERVICE.format(crm.pk)
    opened = browser_form(root.get(url))
    change_by_ada(crm)
    response = root.post(url, opened | {"rate_limit_0": "7", "rate_limit_1": "m"} | both("cache__ttl", "9", "m"))
    assert response.status_code == 200
    text = errors(response.content.decode())
    assert f"crm {WARNING} (staff:ada)" in text
    crm.refresh_from_db()
    assert (crm.timeout, crm.cache) == ({"total": "5s"}, None)


def test_what_was_entered_is_shown_again_and_saved_if_it_is_meant(root: Client, crm: Service) -> None:
    url = SERVICE.format(crm.pk)
    opened = browser_form(root.get(url))
    change_by_ada(crm)
    again = browser_form(root.post(url, opened | both("cache__ttl", "9", "m")))
    assert again["cache__ttl_0"] == "9"
    assert root.post(url, again).status_code == 302
    crm.refresh_from_db()
    assert crm.cache == {"ttl": "9m"}
    assert crm.timeout != {"total": "5s"}


def test_the_preview_of_an_older_form_leads_to_the_warning(root: Client, crm: Service) -> None:
    url = SERVICE.format(crm.pk)
    opened = browser_form(root.get(url))
    change_by_ada(crm)
    assert root.post(url, opened | {"_preview": "1"}).json() == {"invalid": True}


@pytest.mark.parametrize("model", [Service, Route])
def test_the_preview_of_a_row_that_was_deleted_meanwhile_says_so(root: Client, crm: Service, model: Any) -> None:
    row = crm if model is Service else model.objects.get(service=crm)
    url = f"/admin/routing/{model.__name__.lower()}/{row.pk}/change/"
    opened = browser_form(root.get(url))
    crm.delete()
    answer = root.post(url, opened | {"_preview": "1"}).json()
    assert set(answer) == {"error"}
    assert "deleted since the page was opened" in answer["error"]


def test_a_target_that_was_taken_out_meanwhile_stays_out(root: Client, crm: Service) -> None:
    url = SERVICE.format(crm.pk)
    opened = browser_form(root.get(url))
    target = Target.objects.first()
    assert target is not None
    root.post("/admin/routing/target/", {"action": "mark_down", "_selected_action": [target.pk]})
    assert WARNING in root.post(url, opened | both("cache__ttl", "9", "m")).content.decode()
    target.refresh_from_db()
    assert not target.enabled


def test_yaml_that_is_older_than_the_service_undoes_nothing(root: Client, crm: Service) -> None:
    url = SERVICE.format(crm.pk)
    opened = browser_form(root.get(url))
    change_by_ada(crm)
    assert WARNING in root.post(url, opened | yaml("max_concurrency: 7\n")).content.decode()
    crm.refresh_from_db()
    assert crm.max_concurrency != 7


def test_changes_of_other_rows_disturb_nobody(root: Client, crm: Service) -> None:
    route = Route.objects.get()
    url = f"/admin/routing/route/{route.pk}/change/"
    opened = browser_form(root.get(url))
    change_by_ada(crm)
    Route.objects.update(position=4)
    assert root.post(url, opened | both("cache__ttl", "9", "m")).status_code == 302
    route.refresh_from_db()
    assert route.cache == {"ttl": "9m"}


def test_a_consumer_whose_identities_were_changed(root: Client, crm: Service) -> None:
    consumer = Consumer.objects.create(name="acme")
    url = f"/admin/routing/consumer/{consumer.pk}/change/"
    opened = browser_form(root.get(url))
    ConsumerIdentity.objects.create(consumer=consumer, issuer="https://id.example", subject="ada")
    assert WARNING in root.post(url, opened).content.decode()


def test_a_key_whose_scopes_were_narrowed_is_not_widened_again(root: Client, crm: Service) -> None:
    key = ApiKey(name="ci", scopes=["crm", "metrics:read"])
    issue(key)
    url = f"/admin/routing/apikey/{key.pk}/change/"
    opened = browser_form(root.get(url))
    ApiKey.objects.update(scopes=["crm"])
    response = root.post(url, opened | {"name": "build"})
    assert WARNING in response.content.decode()
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("ci", ["crm"])
    ApiKey.objects.update(last_used_service="crm")  # which nobody has edited
    assert root.post(url, browser_form(root.get(url)) | {"name": "build"}).status_code == 302


def _person() -> User:
    person = User.objects.create_user("grace", password="for tests alone", is_staff=True)
    person.groups.add(*(Group.objects.get(name=name) for name in ("Viewer", "Operator")))
    return person


def _key_of_signatures() -> SigningKey:
    consumer = Consumer.objects.create(name="acme")
    return SigningKey.objects.create(
        keyid="ci", consumer=consumer, algorithm="hmac-sha256", secret="env:GATEWAY_SECRET_CI", scopes=["crm"]
    )


def _member() -> Member:
    return Member.objects.create(consumer=Consumer.objects.create(name="acme"), email="dev@acme.example")


GUARDED: dict[str, Any] = {
    "/admin/auth/user/": (_person, {"is_superuser": "on"}, {"first_name": "Grace"}),
    "/admin/auth/group/": (lambda: Group.objects.create(name="night shift"), {"name": "day shift"}, {"name": "shift"}),
    "/admin/routing/member/": (_member, {"role": "manager"}, {"role": "member"}),
    "/admin/routing/signingkey/": (_key_of_signatures, {"scopes_0": "metrics:read"}, {"scopes_0": "debug"}),
    "/admin/routing/servicerole/": (
        lambda: ServiceRole.objects.create(user=_person(), role="Owner", services=["crm"]),
        {"role": "Viewer"},
        {"services": "mail"},
    ),
}
"""Of each page: a row, what the first person enters, and what the second one does."""


@pytest.mark.parametrize("page", GUARDED)
def test_people_and_their_rights(root: Client, crm: Service, page: str) -> None:
    """The second one to save gives nobody back what the first one has taken."""
    create, first, second = GUARDED[page]
    row: Model = create()
    url = f"{page}{row.pk}/change/"
    opened = browser_form(root.get(url))
    assert root.post(url, opened | first).status_code == 302
    stored = browser_form(root.get(url))
    response = root.post(url, opened | second)
    text = errors(response.content.decode())
    assert f"{WARNING} (staff:root)" in text
    assert _shown(browser_form(root.get(url))) == _shown(stored)
    assert root.post(url, browser_form(response)).status_code == 302
    assert _shown(browser_form(root.get(url))) != _shown(stored)


def _shown(form: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in form.items() if name not in ("csrfmiddlewaretoken", "seen")}


def test_an_account_whose_permissions_were_taken_away(root: Client, crm: Service) -> None:
    person, permission = _person(), Permission.objects.filter(content_type__app_label="auth").first()
    assert permission is not None
    person.user_permissions.add(permission)
    url = f"/admin/auth/user/{person.pk}/change/"
    opened = browser_form(root.get(url))
    person.user_permissions.clear()
    assert WARNING in root.post(url, opened | {"first_name": "Grace"}).content.decode()
    assert not person.user_permissions.exists()


def test_a_sign_in_disturbs_nobody(root: Client, crm: Service) -> None:
    person = _person()
    url = f"/admin/auth/user/{person.pk}/change/"
    opened = browser_form(root.get(url))
    User.objects.filter(pk=person.pk).update(last_login=timezone.now(), password="another hasher's")
    assert root.post(url, opened | {"first_name": "Grace"}).status_code == 302
    person.refresh_from_db()
    assert person.first_name == "Grace"


@pytest.mark.parametrize(
    "seen", ["", "x", "x.1.", "x.1.2.3", "x.1.99999999999999999999999999", "x.99999999999999999999999999", ".", "é.1"]
)
def test_odd_values_are_refused_or_not_compared(root: Client, crm: Service, seen: str) -> None:
    url = SERVICE.format(crm.pk)
    assert root.post(url, browser_form(root.get(url)) | {"seen": seen}).status_code in (200, 302)
