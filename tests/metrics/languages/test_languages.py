"""Pages are in the language of the browser; what programs read is in English."""

import json

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5", "Accept": "text/html"}


def staff(**headers: str) -> Client:
    client, user = Client(headers=headers), User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name="Owner"))
    client.force_login(user)
    return client


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
