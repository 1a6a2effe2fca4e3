"""What can be called of a service: by its OpenAPI document, or by its routes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.portal.allowed import Allowed
from metrics.portal.catalogue import entry
from metrics.portal.openapi import Operation, Parameter, operations, published
from routing.configuration.decode import decode_service
from routing.models import ANY_SECRET, Service, ServiceDocument
from tests.metrics.portal.teams import Team, make_team

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Mail <b>API</b>", "version": "2"},
    "servers": [{"url": "http://10.0.0.7:9000/internal"}],
    "paths": {
        "/messages": {
            "servers": [{"url": "http://10.0.0.8"}],
            "parameters": [{"$ref": "#/components/parameters/user"}],
            "get": {
                "summary": "List messages",
                "servers": [{"url": "http://10.0.0.9"}],
                "parameters": [{"name": "limit", "in": "query", "description": "at most"}],
            },
            "post": {
                "summary": "Send a message",
                "requestBody": {
                    "content": {"application/json": {"example": {"to": "ada", "big": 12345678901234567890}}}
                },
            },
        },
        "/labels": {"get": {"summary": "List labels"}},
    },
    "components": {"parameters": {"user": {"name": "user", "in": "query", "required": True}}},
}
SHARED: dict[str, Any] = {
    "openapi": "3.1.0",
    "security": [{"cookie": []}],
    "paths": {"/items/{id}": {"$ref": "#/components/pathItems/item", "summary": "of the path"}},
    "components": {
        "securitySchemes": {"cookie": {"type": "apiKey", "in": "cookie", "name": "sid"}},
        "pathItems": {
            "item": {
                "servers": [{"url": "http://10.0.0.7"}],
                "get": {"parameters": [{"name": "X-Trace", "in": "header", "required": True}], "security": [{}]},
                "delete": {"summary": "Delete it"},
            }
        },
        "schemas": {
            "node": {
                "type": ["object", "null"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string", "examples": ["Ada"]},
                    "born": {"type": "string", "format": "date"},
                    "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
                    "parent": {"$ref": "#/components/schemas/alias"},
                },
            },
            "alias": {"$ref": "#/components/schemas/node"},
        },
    },
}
NAMES = (
    "paths /a /b/{c} get post parameters requestBody content application/json schema example examples x value name in "
    "required summary $ref info title #/paths components pathItems properties items allOf oneOf type object array "
    "#/paths/a"
)
KEYS = st.sampled_from(NAMES.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


def test_operations_have_their_parameters_and_examples() -> None:
    first, second, third = operations(DOCUMENT)
    user = Parameter("user", "query", True)
    assert first == Operation(
        "GET", "/messages", "List messages", (user, Parameter("limit", "query", False, "at most"))
    )
    assert (first.is_simple, first.target) == (False, "/messages?user=")
    assert second.method == "POST"
    assert "12345678901234567890" in second.body
    assert (third.is_simple, third.target) == (True, "/labels")


def test_the_operations_of_a_referenced_path_are_listed_and_published_as_the_plan_includes_them() -> None:
    get, delete = operations(SHARED)
    assert (get.method, get.path, get.header_lines) == ("GET", "/items/{id}", "X-Trace: ")
    assert delete.summary == "Delete it"
    found = published(SHARED, ["GET"], "https://gateway.example/api/v1/shop")
    assert set(found["paths"]["/items/{id}"]) == {"summary", "get"}
    assert set(found["components"]["pathItems"]["item"]) == {"get"}
    assert "10.0.0" not in json.dumps(found)


def test_a_published_document_asks_for_a_key_of_the_gateway() -> None:
    """Whoever generates a client of it could not authenticate with what is between the gateway and the backend."""
    found = published(SHARED, [], "https://gateway.example")
    assert [*found["components"]["securitySchemes"].values()] == [
        {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    ]
    assert found["security"] == [{name: []} for name in found["components"]["securitySchemes"]]
    assert "security" not in found["paths"]["/items/{id}"]["get"]
    own = published(SHARED, [], "https://gateway.example", own_security=True)
    assert (own["security"], own["components"]["securitySchemes"]) == (
        SHARED["security"],
        SHARED["components"]["securitySchemes"],
    )
    assert own["paths"]["/items/{id}"]["get"]["security"] == [{}]


@pytest.mark.parametrize(
    ("content", "media", "body"),
    [
        ({"application/json; charset=utf-8": {"example": {"a": 1}}}, "application/json; charset=utf-8", '{"a": 1}'),
        ({"text/csv": {"example": "a,b"}, "application/json": {"example": [1]}}, "", "[1]"),
        ({"application/vnd.api+json": {"example": 1}}, "application/vnd.api+json", "1"),
        ({"application/x-www-form-urlencoded": {"example": {"a": "ü", "b": [1, 2]}}}, None, "a=%C3%BC&b=1&b=2"),
        ({"multipart/form-data": {"schema": {"type": "object", "properties": {"file": {}}}}}, "", ""),
        (
            {"application/json": {"schema": {"allOf": [{"properties": {"a": {"const": 1}}}, {"example": {"b": 2}}]}}},
            "",
            '{"a": 1, "b": 2}',
        ),
        ({"application/json": {"schema": {"oneOf": [{"type": "boolean"}, {"type": "string"}]}}}, "", "true"),
        ({"application/json": {"example": "x" * 5_000}}, "", ""),
    ],
)
def test_a_body_is_written_in_its_type_of_content(content: Any, media: str | None, body: str) -> None:
    (found,) = operations({"paths": {"/a": {"post": {"requestBody": {"content": content}}}}})
    assert found.media == (next(iter(content)) if media is None else media)
    assert (
        " ".join(found.body.split()).replace("{ ", "{").replace(" }", "}").replace("[ ", "[").replace(" ]", "]") == body
    )


def test_a_body_without_an_example_is_made_of_its_schema_however_often_that_refers_to_itself() -> None:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/alias"}}}
    document = {**SHARED, "paths": {"/a": {"post": {"requestBody": {"content": content}}}}}
    (found,) = operations(document)
    assert json.loads(found.body) == {"name": "Ada", "born": "2027-01-31", "tags": ["a"]}


def test_an_example_that_is_made_is_bounded() -> None:
    kinds = {
        f"level{level}": {"properties": {f"p{index}": {"$ref": f"#/level{level + 1}"} for index in range(50)}}
        for level in range(9)
    }
    content = {"application/json": {"schema": {"$ref": "#/level0"}}}
    document = {**kinds, "level4": {"type": "string"}, "paths": {"/a": {"post": {"requestBody": {"content": content}}}}}
    (found,) = operations(document)
    assert 0 < found.body.count("string") < 100


@given(JSON)
def test_no_document_breaks_the_page(document: Any) -> None:
    if isinstance(document, dict):
        list(operations(document))
        json.dumps(published(document, ["GET"], "https://gateway.example"))


@pytest.mark.django_db
def test_a_member_sees_the_operations_of_the_plan(acme: Team) -> None:
    team = make_team(acme.harness, "beta", plan="pro")
    service = Service.objects.create(name="mail")
    ServiceDocument.objects.create(service=service, document=json.dumps(DOCUMENT), title="Mail <b>API</b>", actor="x")
    page = team.text("services/mail/")
    assert "List messages" in page
    assert "Send a message" not in page  # the plan includes GET only
    assert "Mail &lt;b&gt;API&lt;/b&gt;" in page
    assert "10.0.0" not in page
    assert 'value="/labels"' in page
    found = team.get("services/mail/openapi.json").json()
    assert found["servers"] == [{"url": "http://testserver/api/v1/mail"}]
    assert set(found["paths"]["/messages"]) == {"parameters", "get"}
    assert "10.0.0" not in json.dumps(found)
    assert "Mail &lt;b&gt;" in team.text()
    assert [acme.get(f"services/{path}").status_code for path in ("mail/", "mail/openapi.json")] == [404, 404]


@pytest.mark.django_db
def test_without_a_document_its_routes_are_listed(acme: Team) -> None:
    page = acme.text("services/crm/")
    assert "/contacts/{id}" in page
    assert acme.get("services/crm/openapi.json").status_code == 404


def test_routes_are_listed_without_head_where_there_is_get() -> None:
    routes = [
        {"path": "/a", "methods": ["GET", "HEAD", "POST"]},
        {"path": "/b", "methods": ["HEAD"]},
        {"path": "/c"},
    ]
    service = decode_service("mail", {"targets": [{"url": "http://any"}], "routes": routes}, ANY_SECRET)
    listed = entry(service, Allowed({"mail": frozenset()}, frozenset())).operations
    assert [(each.method, each.path) for each in listed] == [
        ("GET", "/a"),
        ("POST", "/a"),
        ("HEAD", "/b"),
        ("GET", "/c"),
    ]
