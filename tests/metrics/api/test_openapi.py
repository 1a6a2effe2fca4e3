"""The OpenAPI schema is complete, and its page loads nothing from other hosts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.test import Client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def schema() -> dict[str, dict[str, dict[str, object]]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, dict[str, dict[str, object]]] = yaml.load(Client().get("/api/schema").content, loader)  # noqa: S506
    return document


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/metrics", {"get"}),
        ("/metrics/cache", {"get", "delete"}),
        ("/metrics/cache/reset", {"post"}),
        ("/metrics/cache/warm", {"post"}),
        ("/metrics/cache/{service}", {"delete"}),
        ("/metrics/circuit-breakers", {"get"}),
        ("/metrics/circuit-breakers/reset", {"post"}),
        ("/metrics/circuit-breakers/{service}/reset", {"post"}),
        ("/metrics/circuit-breakers/{service}/open", {"post"}),
        ("/metrics/circuit-breakers/{service}/disable", {"post"}),
        ("/metrics/credentials", {"get"}),
        ("/metrics/credentials/{service}/forget", {"post"}),
        ("/metrics/history", {"get"}),
        ("/api/explain", {"post"}),
        ("/events", {"get", "post"}),
        ("/health/deep", {"get"}),
        ("/api/v1/", {"get"}),
        ("/api/v1/{service}/{path}", {"get", "head", "post", "put", "patch", "delete"}),
    ],
)
def test_every_path_is_documented(
    schema: dict[str, dict[str, dict[str, object]]], path: str, methods: set[str]
) -> None:
    assert set(schema["paths"][path]) == methods


def test_operation_ids_are_unique(schema: dict[str, dict[str, dict[str, object]]]) -> None:
    names = re.findall(r"'operationId': '(\w+)'", str(schema))
    assert len(names) == len(set(names)) > 15


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        yield from ((f"{method} {path}", operation) for method, operation in methods.items())


def test_every_operation_has_a_summary_of_one_line(schema: dict[str, Any]) -> None:
    assert [name for name, operation in operations(schema) if not 0 < len(operation["summary"]) <= 120] == []


def test_every_metrics_operation_has_an_example_and_error_responses(schema: dict[str, Any]) -> None:
    api = {name: operation for name, operation in operations(schema) if operation["tags"] == ["metrics"]}
    assert len(api) >= 13
    for name, operation in api.items():
        good = {code: response for code, response in operation["responses"].items() if code.startswith("2")}
        assert all(response["content"]["application/json"]["examples"] for response in good.values()), name
        assert good, name
        assert {"401", "403"} <= set(operation["responses"]), name
        assert operation["security"], name


def test_every_metrics_operation_accepts_an_api_key_or_a_session(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        if operation["tags"] == ["metrics"]:
            assert operation["security"] == [{"apiKey": []}, {"bearer": []}, {"cookieAuth": []}], name
    assert {"apiKey", "bearer", "cookieAuth"} == set(schema["components"]["securitySchemes"])


def test_the_examples_have_the_keys_of_the_responses(schema: dict[str, Any]) -> None:
    example = next(iter(at(schema, "/metrics", "get").values()))["value"]
    assert set(example) == {"timestamp", "cache", "circuitBreakers", "services", "objectives", "targets"}
    assert "nextAttemptTime" in str(example)
    circuits = next(iter(at(schema, "/metrics/circuit-breakers", "get").values()))["value"]
    assert set(circuits) == {"stats", "openCount"}


def at(schema: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    examples: dict[str, Any] = schema["paths"][path][method]["responses"]["200"]["content"]["application/json"][
        "examples"
    ]
    return examples


def test_the_docs_page_loads_nothing_from_other_hosts() -> None:
    page = Client().get("/api/docs").content.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    own_script = "/api/docs?script="
    assert own_script in loaded
    files = [address for address in loaded if address != own_script]
    assert files
    assert all(address.startswith("/static/") for address in files)
    assert all(finders.find(address.removeprefix("/static/")) for address in files)
    script = Client().get(own_script)
    assert script["Content-Type"].startswith("application/javascript")
    assert "://" not in script.content.decode()
    assert '"validatorUrl": null' in script.content.decode()


@pytest.mark.parametrize("method", ["get", "post", "delete", "put", "options"])
@pytest.mark.parametrize(
    "path",
    ["/metrics/cache/%C2%84", "/metrics/nothing", "/api/nothing", "/metrics/cache/a/b", "/api/%0A", "/metrics//"],
)
def test_unknown_paths_are_problem_documents(path: str, method: str) -> None:
    response = getattr(Client(), method)(path)
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["code"] == "unknown_service"


@pytest.mark.parametrize("path", ["/metrics", "/api/schema", "/metrics/nothing"])
def test_a_foreign_host_is_a_problem_document(path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["gateway.example"]
    settings.DEBUG = False
    response = Client().get(path, headers={"Host": "evil.example"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_every_error_response_has_the_problem_document_and_an_example_of_each_code(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        errors = {code: response for code, response in operation["responses"].items() if code[0] in "45"}
        assert {"400", "405", "414", "431", "500"} <= set(errors), name
        for code, response in errors.items():
            problem = response["content"].get("application/problem+json")
            if problem is None:
                assert (name.startswith("get /health"), code) == (True, "503")
                continue
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert [example["value"]["status"] for example in problem["examples"].values()], name
            assert {str(example["value"]["status"]) for example in problem["examples"].values()} == {code}, name
            assert [example["value"]["code"] for example in problem["examples"].values()] == list(problem["examples"])


def test_every_path_parameter_has_a_pattern_and_every_request_body_a_schema(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] != "path" or parameter["schema"]["pattern"], name
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "schema" in content, name


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_errors_of_the_schema_and_its_page_are_problem_documents(path: str) -> None:
    """As json, too: a renderer of YAML cannot render an error."""
    for headers in ({}, {"Accept": "image/png"}, {"Accept": "application/json"}):
        response = Client().post(path, b"{}", content_type="application/json", headers=headers)
        assert (response.status_code, response["Content-Type"]) == (405, "application/problem+json")
        assert "GET" in response["Allow"]
        assert Client().get(path, headers=headers).status_code == 200
