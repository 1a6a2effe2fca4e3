"""The schema is whole, and its page needs nobody else's server."""

import re

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.test import Client


@pytest.fixture(scope="module")
def schema() -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(Client().get("/api/schema").content)
    return found


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
        ("/metrics/history", {"get"}),
        ("/api/v1/", {"get"}),
        ("/api/v1/{service}/{path}", {"get", "head", "post", "put", "patch", "delete"}),
    ],
)
def test_every_path_is_there(schema: dict[str, dict[str, dict[str, object]]], path: str, methods: set[str]) -> None:
    assert set(schema["paths"][path]) == methods


def test_operations_have_names_of_their_own(schema: dict[str, dict[str, dict[str, object]]]) -> None:
    names = re.findall(r"'operationId': '(\w+)'", str(schema))
    assert len(names) == len(set(names)) > 15


def test_answers_have_examples(schema: dict[str, dict[str, dict[str, object]]]) -> None:
    assert "openCount" in str(schema["paths"]["/metrics/circuit-breakers"]["get"])
    assert "nextAttemptTime" in str(schema["paths"]["/metrics"]["get"])


def test_the_page_loads_everything_from_here() -> None:
    page = Client().get("/api/docs").content.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(address.startswith("/static/") for address in loaded)
    assert all(finders.find(address.removeprefix("/static/")) for address in loaded)
    assert "validatorUrl" in page
