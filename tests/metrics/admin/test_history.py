"""The configuration's history in the admin: numbers, what differs, undo, labels and comments."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics.models import Operation
from routing.database.actor import acting_as, commenting
from routing.database.apply import apply_document
from routing.database.loader import raw_document
from routing.models import ConfigurationRevision
from tests.routing.test_admin import errors

pytestmark = pytest.mark.django_db(transaction=True)

HISTORY = "/admin/routing/configurationrevision/"


def apply(*, mail: bool = True, **crm: Any) -> ConfigurationRevision:
    services = {"crm": {"targets": [{"url": "http://crm"}], **crm}}
    if mail:
        services["mail"] = {"targets": [{"url": "http://mail"}], "headers": {"Authorization": "Bearer hunter2"}}
    apply_document({"version": 1, "services": services})
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    return revision


def crm() -> dict[str, Any]:
    settings: dict[str, Any] = raw_document()["services"]["crm"]
    return settings


def test_a_revision_has_a_number_and_shows_what_differs_and_the_comment(root: Client) -> None:
    apply(cache={"ttl": 300})
    with acting_as("staff:ada"), commenting("slower backend"):
        revision = apply(cache={"ttl": "10m"})
    text = errors(root.get(HISTORY).content.decode())
    assert f"{revision.pk} " in text
    assert "slower backend" in text
    page = errors(root.get(f"{HISTORY}{revision.pk}/change/").content.decode())
    assert "crm: cache / ttl 300 10m" in page
    assert "slower backend" in page


def test_one_change_is_undone_and_later_ones_stay(root: Client) -> None:
    routes = [{"path": "/a"}, {"path": "/b"}, {"path": "/c"}]
    apply(cache={"ttl": 300}, routes=routes)
    wrong = apply(cache={"ttl": 1, "scope": "user"}, routes=[routes[0], {**routes[2], "auth": "none"}])
    apply(
        cache={"ttl": 1, "scope": "user", "tags": ["t"]},
        routes=[{"path": "/new"}, routes[0], {**routes[2], "auth": "none"}],
    )
    before = raw_document()
    page = errors(root.get(f"{HISTORY}{wrong.pk}/undo/").content.decode())
    assert "crm: cache / ttl 1 300" in page
    assert raw_document() == before
    assert root.post(f"{HISTORY}{wrong.pk}/undo/").status_code == 302
    assert crm()["cache"] == {"ttl": 300, "tags": ["t"]}
    assert [route["path"] for route in crm()["routes"]] == ["/new", "/a", "/b", "/c"]
    assert "auth" not in crm()["routes"][3]
    latest = ConfigurationRevision.objects.first()
    assert latest is not None
    assert (latest.actor, latest.summary) == ("staff:root", f"undid revision {wrong.pk}")
    operation = Operation.objects.get(action="configuration.undo")
    assert operation.after == {"revision": wrong.pk, "services": ["crm"]}


def test_what_was_changed_again_is_not_undone(root: Client) -> None:
    apply(cache={"ttl": 300})
    wrong = apply(cache={"ttl": 1}, rate_limit="5/m")
    apply(cache={"ttl": 2}, rate_limit="5/m")
    before = raw_document()
    for method in (root.get, root.post):
        page = errors(method(f"{HISTORY}{wrong.pk}/undo/", follow=True).content.decode())
        assert "Not undone: changed again since, at /services/crm/cache/ttl." in page
    assert raw_document() == before


def test_an_added_service_is_removed_and_a_removed_one_returns_with_its_secret(root: Client) -> None:
    first = apply(mail=False)
    added = apply()
    root.post(f"{HISTORY}{added.pk}/undo/")
    assert [*raw_document()["services"]] == ["crm"]
    removed = ConfigurationRevision.objects.first()
    assert removed is not None
    root.post(f"{HISTORY}{removed.pk}/undo/")
    assert raw_document()["services"]["mail"]["headers"] == {"Authorization": "Bearer hunter2"}
    root.post(f"{HISTORY}{first.pk}/undo/")
    assert [*raw_document()["services"]] == ["mail"]


def test_a_revision_is_labelled_and_commented(root: Client) -> None:
    revision = apply()
    root.post(f"{HISTORY}{revision.pk}/annotate/", {"label": "before the sale", "comment": "as agreed", "summary": "x"})
    revision.refresh_from_db()
    assert (revision.label, revision.comment) == ("before the sale", "as agreed")
    assert revision.summary != "x"
    assert Operation.objects.get(action="configuration.annotate").actor == "staff:root"
    root.post(f"{HISTORY}{revision.pk}/annotate/", {"label": "x" * 65})
    revision.refresh_from_db()
    assert revision.label == "before the sale"
    assert "before the sale" in root.get(HISTORY, {"q": "sale"}).content.decode()
    viewer = Client()
    viewer.force_login(User.objects.create_user("eve", is_staff=True))
    for action in ("annotate", "undo", "rollback"):
        assert viewer.post(f"{HISTORY}{revision.pk}/{action}/", {"label": "mine"}).status_code == 403
