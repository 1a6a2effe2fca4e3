"""Pages are in the language of the browser; what programs read is in English."""

import json
import re
from typing import Any

import pytest
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils.functional import Promise

from routing.admin.fields import HELP_TEXTS
from routing.models import ConsumerIdentity, Target
from routing.pages.site import admin_site
from tests.metrics.harness import Harness, ok
from tests.staff import member_of

pytestmark = pytest.mark.django_db

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5", "Accept": "text/html"}


def staff(**headers: str) -> Client:
    return member_of("Owner", headers=headers)


def test_pages_follow_the_browser(harness: Harness) -> None:
    harness.serve(ok())
    client = staff(**GERMAN)
    for path, text in {
        "/dashboard/": "Offene Circuits",
        "/dashboard/requests/": "Kennung der Anfrage",
        "/dashboard/services/crm/": "Circuit, letzte Stunde",
        "/dashboard/nothing/": "Diese Seite gibt es nicht",
        "/admin/": "Widerrufene Token",
    }.items():
        response = client.get(path)
        page = response.content.decode()
        assert text in page
        assert '<html lang="de"' in page
        assert response["Content-Language"] == "de"
        assert "Accept-Language" in response["Vary"]
    assert '<html lang="de"' in Client(headers=GERMAN).get("/admin/login/").content.decode()
    assert '<html lang="en"' in Client(headers={"Accept-Language": "fr"}).get("/admin/login/").content.decode()


def test_what_programs_read_is_in_english(harness: Harness) -> None:
    harness.serve(ok())
    client = staff(**GERMAN)
    client.get("/dashboard/")
    history = client.get("/metrics/history?from=x", headers={"Accept": "application/json"})
    assert "Datum" not in json.dumps(history.json())
    assert history.status_code == 400
    assert "Content-Language" not in history
    refused = json.loads(Client(headers=GERMAN).get("/api/v1/crm/x").content)
    assert refused["title"] == "A valid credential is required"


def test_the_palette_is_german_too(harness: Harness) -> None:
    harness.serve(ok())
    groups = staff(**GERMAN).get("/dashboard/palette.json", {"q": "cache leeren"}).json()["groups"]
    assert [(group["title"], [item["title"] for item in group["items"]]) for group in groups] == [
        ("Aktionen", ["Cache von crm leeren", "Den ganzen Cache leeren"])
    ]


def test_a_language_is_chosen_and_kept(harness: Harness) -> None:
    client = staff(Accept="text/html")
    assert "Skip to content" in client.get("/dashboard/").content.decode()
    response = client.post("/accounts/language/", {"language": "de", "next": "/dashboard/usage/"})
    assert (response.status_code, response["Location"]) == (302, "/dashboard/usage/")
    assert "Zum Inhalt springen" in client.get("/dashboard/").content.decode()
    cookie = response.cookies["django_language"]
    assert cookie["httponly"]
    elsewhere = client.post("/accounts/language/", {"language": "en", "next": "https://evil.test/"})
    assert "evil" not in elsewhere["Location"]
    assert Client(enforce_csrf_checks=True).post("/accounts/language/", {"language": "de"}).status_code == 403


@pytest.mark.parametrize("model", [*admin_site()._registry, ConsumerIdentity, Target])
def test_names_of_models_and_of_the_fields_that_pages_show_are_translated(model: type[Model]) -> None:
    names = [model._meta.verbose_name, model._meta.verbose_name_plural]
    if model._meta.app_label in ("routing", "metrics"):
        assert all(isinstance(name, Promise) for name in names), names
        page: Any = admin_site()._registry.get(model)
        sections: Any = getattr(page, "fieldsets", None) or getattr(page, "plain_fieldsets", ())
        shown = {*page.list_display, *page.readonly_fields, *flatten_fieldsets(sections)} if page else set()
        own = getattr(page.form, "declared_fields", {}) if page else {}
        columns = [field for field in model._meta.fields if field.name in shown and field.name not in own]
        assert [field.name for field in columns if not isinstance(field.verbose_name, Promise)] == []


@pytest.mark.parametrize("model", [model for model in admin_site()._registry if model._meta.app_label == "routing"])
def test_labels_and_help_texts_of_the_admins_forms_are_translated(model: type[Model], harness: Harness) -> None:
    request = owner_request()
    page: Any = admin_site()._registry[model]
    form = page.get_form(request)()
    own = [field for name, field in form.fields.items() if name in form.declared_fields or name in HELP_TEXTS]
    texts = [text for field in own for text in (field.label, field.help_text) if text]
    plain = [text for text in texts if not isinstance(text, Promise) and re.search(r"[a-z]{3,} [a-z]", str(text))]
    assert plain == []
    actions = [action for action, _name, _text in page.get_actions(request).values()]
    described = [getattr(action, "short_description", "") for action in actions]
    assert [text for text in described if text and not isinstance(text, Promise)] == []


def test_the_forms_of_the_configuration_are_german(harness: Harness) -> None:
    harness.serve(ok())
    client = staff(**GERMAN)
    for path, texts in {
        "/admin/routing/webhook/add/": ("Prüfung der Zustellungen", "Verwirft", "eingeschaltet"),
        "/admin/routing/plan/add/": ("Kontingent hinzufügen", "in Arbeit, über alle Worker", "Je Anfrage"),
        "/admin/routing/service/add/": ("Ratenlimit", "Ziele", "/accounts/messages.js"),
    }.items():
        page = client.get(path).content.decode().lower()
        assert [text for text in texts if text.lower() not in page] == [], path


def owner_request() -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = User(username="ada", is_staff=True, is_superuser=True)
    return request
