"""Reading OpenAPI documents: their form, and references, of which none is fetched."""

import socket
from typing import Any

import pytest

from routing.configuration.faults import ConfigurationError
from routing.openapi.document import MAX_BYTES, read
from routing.openapi.operations import operations
from tests.routing.openapi.documents import as_json, as_yaml, large, small


def fault(content: bytes) -> str:
    with pytest.raises(ConfigurationError) as error:
        operations(read(content).structure)
    return str(error.value)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize("version", ["3.0.3", "3.1.0", "3.1"])
def test_json_and_yaml_of_each_version_are_read(write: Any, version: str) -> None:
    document = read(write(small("/contacts", openapi=version)))
    assert (document.title, document.version, document.warnings) == ("Contacts", "1", ())
    assert [route.path for route in operations(document.structure).routes] == ["/contacts"]


def test_a_version_that_yaml_reads_as_a_number_is_a_version() -> None:
    assert read(b"openapi: 3.1\ninfo: {title: A, version: 1.0}\npaths: {}\n").version == "1.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"swagger": "2.0", "info": {}, "paths": {}}', "swagger: Swagger 2.0 is not read: convert"),
        (b"swagger: '2.0'\ninfo: {title: A}\n", "swagger: Swagger 2.0 is not read: convert"),
        (b'{"openapi": "4.0.0", "info": {}}', "openapi: OpenAPI 3.0 and 3.1 are read, not '4.0.0'"),
        (b'{"openapi": true, "info": {}}', "openapi: OpenAPI 3.0 and 3.1 are read"),
        (b'{"info": {"title": "A"}}', "no OpenAPI document"),
        (b"[1]", "an OpenAPI document is a mapping"),
        (b"", "an OpenAPI document is a mapping"),
        (b'{"openapi": "3.0.0", "paths": {}}', "info: must be a mapping"),
        (b"openapi: 3.0.0\ninfo:\n  title: httpbin\n  /get:\n    get: {}\n", "no 'paths': OpenAPI 3.0 requires them"),
        (b'{"openapi": "3.0.0", "info": {}, "paths": []}', "paths: must be a mapping"),
        (b'{"openapi": "3.0.0", "info": {}, "paths": {"a": {}}}', "paths: a path must begin with '/'"),
        (b'{"openapi": "3.0.0", "info": {}, "paths": {"/a": [1]}}', "paths./a: must be a mapping of methods"),
        (b'{"openapi": "3.0.0",\n"info": }', "line 2: not valid JSON"),
        (b'{"openapi": "3.0.0", "openapi": "3.1.0"}', "not valid JSON: duplicate key 'openapi'"),
        (b"openapi: 3.0.0\ninfo: &a {title: *a}\npaths: {}\n", "the aliases of the file expand to too much"),
        (b"openapi: 3.0.0\ninfo: {title: .nan, x: .inf}\npaths: {}\n", "cannot be written as JSON"),
        (b'{"openapi": "3.0.0", "info": {"title": NaN}, "paths": {}}', "not valid JSON: NaN"),
        (b"{" + b" " * MAX_BYTES, "larger than 16 MB"),
        (b'{"a":' * 3000, "nested deeper than 100"),
        (b'{"openapi":"3.1.0","x":' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper than 100"),
    ],
)
def test_what_cannot_be_read_is_a_fault(content: bytes, message: str) -> None:
    assert message in fault(content)


def test_a_path_item_may_be_a_reference_within_the_document() -> None:
    shared: dict[str, Any] = {"get": {"responses": {}}, "post": {"responses": {}}}
    document = small(components={"pathItems": {"a/b": shared}})
    document["paths"] = {
        "/a": {"$ref": "#/components/pathItems/a~1b"},
        "/b": {"$ref": "#/paths/~1a", "delete": {"responses": {}}},
        "/c%2Bd": {"$ref": "#/paths/~1b"},
    }
    found = {route.path: route.methods for route in operations(read(as_json(document)).structure).routes}
    assert found == {"/a": ("GET", "POST"), "/b": ("GET", "POST", "DELETE"), "/c+d": ("GET", "POST", "DELETE")}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("https://example.com/paths.yaml#/a", "outside the document and is never fetched: bundle"),
        ("other.yaml", "outside the document and is never fetched"),
        ("file:///etc/passwd", "outside the document and is never fetched"),
        ("#/components/pathItems/none", "refers to nothing in the document"),
        ("#/paths/~1a", "a circular reference"),
        ("#/paths/~1b", "a circular reference"),
    ],
)
def test_other_references_of_path_items_are_faults(reference: str, message: str) -> None:
    document = small()
    document["paths"] = {"/a": {"$ref": reference}, "/b": {"$ref": "#/paths/~1a"}}
    assert message in fault(as_json(document))


def test_references_elsewhere_are_stored_as_they_are_and_warned_of() -> None:
    document = small("/a", components={"schemas": {"A": {"$ref": "https://evil.example/a.json"}, "B": {"$ref": "#/x"}}})
    document["paths"]["/a"]["get"] = {"responses": {"200": {"$ref": "#/components/schemas/A"}}}
    read_document = read(as_json(document))
    assert read_document.structure == document
    assert len(read_document.warnings) == 2
    assert "never fetched" in read_document.warnings[0]
    assert "'#/x' refers to nothing" in read_document.warnings[1]


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_large_document_with_circular_schemas_makes_a_route_of_each_path(version: str) -> None:
    document = read(as_json(large(version)))
    assert document.warnings == ()
    found = operations(document.structure)
    assert len(found.routes) == 200
    assert found.warnings == ()
    assert found.routes[1] == ("/resource0/{resource0_id}", ("GET", "PATCH", "DELETE"))


def test_anchors_and_merge_keys_are_written_out() -> None:
    text = b"""
openapi: 3.0.3
info: {title: Shop, version: "1"}
x-responses: &common
  "401": {description: no}
paths:
  /orders:
    get: &get
      responses: {<<: *common, "200": {description: ok}}
  /invoices: {get: *get}
"""
    found = read(text)
    assert set(found.structure["paths"]["/invoices"]["get"]["responses"]) == {"401", "200"}
    assert "<<" not in found.text


def test_aliases_that_expand_without_bound_are_refused() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"k{n}: &k{n} [{', '.join(['*' + ('a' if n == 0 else f'k{n - 1}')] * 9)}]\n" for n in range(9)
    )
    with pytest.raises(ConfigurationError, match="expand to too much"):
        read(bomb.encode())
