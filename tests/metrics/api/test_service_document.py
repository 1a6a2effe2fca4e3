"""`/api/config/services/<name>/openapi`."""

from typing import Any

import pytest
import yaml

from routing.database.apply import apply_document
from routing.models import Service
from tests.metrics.api.test_configuration import CRM, FILE, JSON, YAML, Api, problem
from tests.metrics.harness import Harness
from tests.routing.openapi.documents import as_json, as_yaml, large, small

pytestmark = pytest.mark.django_db
PATH = "/services/crm/openapi"


@pytest.fixture
def api(harness: Harness) -> Api:
    apply_document(FILE)
    return Api(harness)


def paths() -> list[str]:
    return [route.path for route in Service.objects.get(name="crm").routes.all()]


@pytest.mark.parametrize(
    ("kind", "write", "document"),
    [(JSON, as_json, large()), (YAML, as_yaml, small("GET,POST /z", "/a", openapi="3.1.0"))],
)
def test_a_document_is_stored_and_served_as_it_was(api: Api, kind: str, write: Any, document: Any) -> None:
    problem(api.get(PATH), 404, "unknown_document")
    assert api.put(write(document), PATH, kind=kind).status_code == 200
    read = api.get(PATH)
    assert (read.json(), list(read.json()["paths"])) == (document, list(document["paths"]))
    if kind == YAML:
        assert yaml.safe_load(api.get(PATH, Accept=YAML).content) == document
    assert api.get(PATH, **{"If-None-Match": read["ETag"]}).status_code == 304
    problem(api.put(as_json(small()), PATH, match='"x"'), 412, "precondition_failed")
    assert paths() == []


def test_routes_are_made_on_demand_and_kept_by_hand(api: Api) -> None:
    dry = api.put(small("GET,POST /a"), f"{PATH}?routes=1&dry_run=1").json()
    assert (dry["changes"], dry["added"], paths()) == (True, [{"path": "/a", "methods": ["GET", "POST"]}], [])
    assert api.put(small("GET,POST /a"), f"{PATH}?routes=1").json()["added"] == dry["added"]
    api.send("PATCH", "/services/crm", {"routes": [{"path": "/a", "methods": ["GET", "POST"], "scopes": ["s"]}]})
    changed = api.put(small("GET /a", "/b"), f"{PATH}?routes=1").json()
    assert changed["changed"] == [{"path": "/a", "old": ["GET", "POST"], "new": ["GET"]}]
    assert api.get("/services/crm").json()["routes"] == [
        {"path": "/a", "methods": ["GET"], "scopes": ["s"]},
        {"path": "/b", "methods": ["GET"]},
    ]
    assert api.put(small("GET /a", "/b"), f"{PATH}?routes=1").json()["changes"] is False


def test_faults_and_rights(harness: Harness, api: Api) -> None:
    found = problem(api.put({"swagger": "2.0"}, PATH), 400, "invalid_request")
    assert found["errors"][0]["pointer"] == "/swagger"
    found = problem(api.put(small("/a//b"), f"{PATH}?routes=1"), 400, "invalid_request")
    assert found["errors"][0]["pointer"] == "/paths/~1a~1~1b"
    problem(api.put(small(), PATH, kind="text/plain"), 415, "unsupported_media_type")
    problem(api.put(small(), "/services/none/openapi"), 404, "unknown_service")
    problem(Api(harness, "config-read").put(small(), PATH), 403, "forbidden")
    problem(Api(harness, "config-crm").put(small(), "/services/mail/openapi"), 403, "forbidden")
    problem(Api(harness, "config-crm").get("/services/mail/openapi"), 403, "forbidden")
    assert Api(harness, "config-crm").put(small(), PATH).status_code == 200


def test_the_document_goes_with_its_service(api: Api) -> None:
    api.put(small(), PATH)
    api.send("DELETE", "/services/crm", "")
    api.put(CRM, "/services/crm")
    problem(api.get(PATH), 404, "unknown_document")
