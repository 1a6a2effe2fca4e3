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
NAMES = (
    "paths /a /b/{c} get post parameters requestBody content application/json schema example examples x value name in "
    "required summary $ref info title #/paths"
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
