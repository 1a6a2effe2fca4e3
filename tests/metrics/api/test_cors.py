"""Pages of other origins use the metrics API with a key."""

from collections.abc import Iterator

import msgspec
import pytest
from django.conf import settings
from django.test import Client, override_settings

from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db
APP = "https://app.example.com"


@pytest.fixture
def client() -> Iterator[Client]:
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, cors_origins=(APP,))):
        yield Client()


@pytest.mark.parametrize("path", ["/metrics", "/metrics/cache", "/api/explain", "/api/schema"])
def test_a_preflight_needs_no_key(harness: Harness, client: Client, path: str) -> None:
    sent = {"Origin": APP, "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-api-key"}
    response = client.options(path, headers=sent)
    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (204, APP)
    assert response["Access-Control-Allow-Methods"] == "DELETE"
    assert response["Access-Control-Allow-Headers"] == "x-api-key"
    assert "Access-Control-Allow-Credentials" not in response


def test_a_preflight_of_another_origin_is_allowed_nothing(harness: Harness, client: Client) -> None:
    sent = {"Origin": "https://evil.test", "Access-Control-Request-Method": "DELETE"}
    response = client.options("/metrics/cache", headers=sent)
    assert response.status_code == 204
    assert not any(name.startswith("Access-Control-") for name in response.headers)


def test_a_response_and_an_error_can_be_read(harness: Harness, client: Client) -> None:
    read = client.get("/metrics", headers={"Origin": APP, "X-API-Key": harness.keys["read"]})
    refused = client.get("/metrics", headers={"Origin": APP})
    missing = client.get("/metrics/none", headers={"Origin": APP})
    for response, status in ((read, 200), (refused, 401), (missing, 404)):
        assert (response.status_code, response["Access-Control-Allow-Origin"]) == (status, APP)
        assert "Origin" in response["Vary"]
        assert "X-Request-ID" in response["Access-Control-Expose-Headers"]


def test_staff_pages_have_no_cors(harness: Harness, client: Client) -> None:
    assert "Access-Control-Allow-Origin" not in client.get("/admin/login/", headers={"Origin": APP})
