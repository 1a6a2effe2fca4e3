"""Paths of documents as patterns of routes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.configuration.faults import ConfigurationError
from routing.configuration.values import pattern
from routing.openapi.operations import operations
from routing.openapi.servers import first_server
from tests.routing.openapi.documents import small


def path_of(path: str) -> str:
    (route,) = operations(small(f"GET {path}")).routes
    return route.path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/contacts", "/contacts"),
        ("/contacts/", "/contacts"),
        ("/contacts/{id}", "/contacts/{id}"),
        ("/contacts/{contact-id}/notes/{note.id}", "/contacts/{contact_id}/notes/{note_id}"),
        ("/contacts/{filter[name]}", "/contacts/{filter_name_}"),
        ("/a/{id}/b/{id}", "/a/{id}/b/{id_2}"),
        ("/a/{2fa}", "/a/{_2fa}"),
        ("/a/{caller}/{tenant}", "/a/{_caller}/{_tenant}"),
        ("/a/{}", "/a/{any}"),
        ("/a/{größe}", "/a/{gr__e}"),
        ("/files/{name}.json", "/files/{name}"),
        ("/files/{name}.{format}", "/files/{name_format}"),
        ("/tasks/{id}:cancel", "/tasks/{id}"),
        ("/v1/{name=projects/*}/things", "/v1/*"),
        ("/v1/{parent=a/*/b/*}", "/v1/*"),
        ("/{proxy+}", "/*"),
        ("/files/{+path}", "/files/*"),
        ("/files/{path*}/raw", "/files/*"),
        ("/files/{**path}", "/files/*"),
        ("/files/{path:.*}", "/files/*"),
        ("/files/{name:path}", "/files/*"),
        ("/files/{id:[0-9]+}/raw", "/files/{id__0_9__}/raw"),
        ("/a/*", "/a/*"),
        ("/a/*/b", "/a/{any}/b"),
        ("/search?q={q}", "/search"),
        ("/#X-Amz-Target=List", "/"),
        ("/caf%C3%A9/a%2Bb", "/café/a+b"),
    ],
)
def test_a_path_becomes_a_pattern(path: str, expected: str) -> None:
    assert path_of(path) == expected
    assert pattern(expected) == expected


@pytest.mark.parametrize("path", ["/a//b", "/a/../b", "/a%2Fb/%00", "/a%25b", f"/{'a' * 600}"])
def test_a_path_that_no_route_can_have_is_a_fault(path: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        path_of(path)
    assert str(error.value).startswith(f"paths.{path}: ")


def test_paths_that_become_one_pattern_make_one_route() -> None:
    found = operations(small("GET /a/{id}", "PUT,DELETE /a/{name}", "POST /a/{id}.json"))
    assert found.routes == (("/a/{id}", ("GET", "POST", "PUT", "DELETE")),)


def test_paths_without_operations_and_extensions_make_none() -> None:
    document = small("/a")
    document["paths"] |= {"/b": {"summary": "later"}, "/c": None, "x-more": {"get": {}}, "/d": {"query": {}, "get": 1}}
    assert [route.path for route in operations(document).routes] == ["/a"]
    assert operations(small()).warnings == ("the document has no operations",)


def test_servers_of_a_path_are_warned_of() -> None:
    document = small("/a")
    document["paths"]["/a"]["servers"] = [{"url": "https://other.example"}]
    assert "'servers' are not used" in operations(document).warnings[0]


@given(st.text("/{}ab.:-*?#%2F~é", max_size=20))
def test_every_path_is_a_valid_pattern_or_a_fault(text: str) -> None:
    try:
        found = operations(small(f"GET /{text}")).routes
    except ConfigurationError:
        return
    assert all(pattern(route.path) for route in found)


@pytest.mark.parametrize(
    ("servers", "address"),
    [
        ([{"url": "https://api.example.com/v1/"}], "https://api.example.com/v1"),
        ([{"url": "http://127.0.0.1:8000"}, {"url": "https://b.example"}], "http://127.0.0.1:8000"),
        (
            [{"url": "https://{r}.example:{p}", "variables": {"r": {"default": "eu"}, "p": {"default": 8443}}}],
            "https://eu.example:8443",
        ),
    ],
)
def test_the_first_server_is_the_target(servers: list[Any], address: str) -> None:
    found, warnings = first_server({"servers": servers})
    assert found == address
    assert len(warnings) == len(servers) - 1


@pytest.mark.parametrize(
    "servers",
    [
        None,
        [],
        {},
        [None],
        [{"url": "/v1"}],
        [{"url": "wss://a.example"}],
        [{"url": "https://{r}.example"}],
        [{"url": "https://[::1"}],
        [{}],
    ],
)
def test_a_server_that_is_no_address_is_a_fault(servers: Any) -> None:
    with pytest.raises(ConfigurationError):
        first_server({"servers": servers})
