"""What staff find with the command palette."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from metrics.dashboard.palette.items import MAX_CANDIDATES, MAX_ITEMS, PaletteItem, matching, tokens
from routing.models import ApiKey, Consumer
from tests.metrics.harness import Harness, ok
from tests.staff import member_of

pytestmark = pytest.mark.django_db


def found(client: Client, query: str) -> dict[str, list[Any]]:
    response = client.get("/dashboard/palette.json", {"q": query})
    assert response.status_code == 200
    return {group["title"]: group["items"] for group in response.json()["groups"]}


def member(group: str) -> Client:
    return member_of(group, group.lower())


def titles(items: list[Any]) -> list[str]:
    return [item["title"] for item in items]


def test_the_id_of_a_failed_request_leads_to_its_page(harness: Harness) -> None:
    harness.serve(ok())
    client = member("Viewer")
    problem = json.loads(Client().get("/api/v1/nothing/7?token=letmein").content)
    (item,) = found(client, f" {problem['request_id']} ")["Requests"]
    assert item["title"] == "GET /api/v1/nothing/7?token=***"
    assert item["detail"].startswith("404, ") or item["detail"].startswith("401, ")
    assert client.get(item["url"]).status_code == 200
    for text in (f'"request_id": "{problem["request_id"]}",', json.dumps(problem), problem["request_id"].upper()):
        assert found(client, text)["Requests"] == [item]
        assert client.get("/dashboard/requests/", {"id": text[-128:]}).status_code == 302
    assert "Requests" not in found(client, "not-an-id-of-any-request")


def test_services_routes_and_operations_are_found_by_words(harness: Harness) -> None:
    for name in ("crm", "crmArchive", "mail"):
        harness.serve(ok(), name=name)
    client = member("Operator")
    groups = found(client, "crm")
    assert titles(groups["Services"]) == ["crm", "crmArchive"]
    assert titles(groups["Routes"]) == ["crm /contacts/{id}", "crmArchive /contacts/{id}"]
    assert titles(found(client, "FLUSH mail")["Operations"]) == ["Flush the cache of mail"]
    (action,) = found(client, "force open mail")["Operations"]
    assert action["url"] == "/dashboard/services/mail/#action=open"
    assert client.get(groups["Routes"][0]["url"]).status_code == 200


def test_what_is_found_depends_on_rights(harness: Harness) -> None:
    harness.serve(ok())
    viewer, owner = member("Viewer"), member("Owner")
    assert "Operations" not in found(viewer, "crm")
    assert "Operations" in found(owner, "crm")
    assert "Sessions" not in titles(found(viewer, "s").get("Pages", []))
    assert "Staff" not in titles(found(viewer, "staff").get("Pages", []))
    assert "Failed deliveries" not in titles(found(viewer, "failed").get("Pages", []))
    assert "Failed deliveries" in titles(found(owner, "failed")["Pages"])
    for page in found(viewer, "")["Pages"]:
        assert viewer.get(page["url"], follow=True).status_code == 200
    assert Client().get("/dashboard/palette.json").status_code == 302
    eve = Client()
    eve.force_login(User.objects.create_user("eve", is_staff=True))
    assert eve.get("/dashboard/palette.json").status_code == 403


def test_keys_and_consumers_are_found_by_name_and_prefix(harness: Harness) -> None:
    for number in range(8):
        ApiKey.objects.create(name=f"billing {number}", prefix=f"k3m5pq7{number}", digest=f"{number:064}", owner="ada")
    Consumer.objects.create(name="acme")
    client = member("Viewer")
    assert len(found(client, "billing")["API keys"]) == 5
    (key,) = found(client, "K3M5PQ77")["API keys"]
    for text in ("key:k3m5pq77", "gw_k3m5pq77", "gw_k3m5pq77_the_secret"):  # as pages and the key itself say it
        assert found(client, text)["API keys"] == [key]
    assert key["detail"] == "ada"
    assert client.get(key["url"]).status_code == 200
    assert titles(found(client, "acm")["Consumers"]) == ["acme"]
    assert "API keys" not in found(client, "b")
    assert "API keys" not in found(client, "100%")  # no wildcard


def test_without_the_database_the_rest_is_found(harness: Harness) -> None:
    harness.serve(ok())
    client = member("Viewer")
    found(client, "crm")  # the session and the user are read

    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "routing_" in sql:
            raise OperationalError("the server closed the connection")
        return execute(sql, *rest)

    with connection.execute_wrapper(away):
        assert titles(found(client, "crm")["Services"]) == ["crm"]


def test_a_query_is_bounded(harness: Harness) -> None:
    client = member("Viewer")
    assert found(client, "x" * 100_000) == {}
    assert len(tokens("a " * 1_000)) == 50
    many = (PaletteItem(f"service{number}", "/") for number in range(10**9))
    assert len(matching(many, ["service"])) == MAX_ITEMS
    assert (
        matching((PaletteItem(str(number), "/") for number in range(MAX_CANDIDATES + 9)), [str(MAX_CANDIDATES)]) == []
    )


def test_those_that_begin_with_the_word_are_first() -> None:
    items = [PaletteItem("my crm", "/"), PaletteItem("crm", "/"), PaletteItem("mail", "/", words="crm")]
    assert [item.title for item in matching(items, ["crm"])] == ["crm", "my crm", "mail"]
