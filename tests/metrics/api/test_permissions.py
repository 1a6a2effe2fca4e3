"""Who may use the metrics API, and how often."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from metrics.api import access
from metrics.models import Operation
from tests.metrics.api.endpoints import ENDPOINTS, READS, WRITES, send
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_missing_credential_is_401(harness: Harness, method: str, path: str) -> None:
    response = send(Client(), method, path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="gateway"'
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response["X-Request-ID"]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("credential", ["Basic YTpi", "Bearer junk", "Bearer gw_aaaaaaaa_" + "x" * 43])
def test_an_invalid_credential_is_401(harness: Harness, method: str, path: str, credential: str) -> None:
    assert send(Client(), method, path, Authorization=credential).status_code == 401


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("key", ["every", "none"])
def test_a_key_without_the_scope_is_403(harness: Harness, method: str, path: str, key: str) -> None:
    response = send(Client(), method, path, **{"X-API-Key": harness.keys[key]})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", READS)
def test_the_write_scope_does_not_allow_reads(harness: Harness, path: str) -> None:
    assert send(Client(), "get", path, **{"X-API-Key": harness.keys["write"]}).status_code == 403
    assert send(Client(), "get", path, Authorization=f"Bearer {harness.keys['read']}").status_code == 200


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_the_read_scope_does_not_allow_writes(harness: Harness, method: str, path: str) -> None:
    harness.serve(ok())
    assert send(Client(), method, path, **{"X-API-Key": harness.keys["read"]}).status_code == 403
    assert send(Client(), method, path, **{"X-API-Key": harness.keys["write"]}).status_code in (200, 202)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_write_by_session_without_a_csrf_token_is_403(
    harness: Harness, staff_client: Client, method: str, path: str
) -> None:
    harness.serve(ok())
    response = send(staff_client, method, path)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert "CSRF" in response.json()["detail"]
    assert not Operation.objects.exists()
    staff_client.get("/admin/")
    staff_client.cookies["csrftoken"] = "a" * 32
    assert send(staff_client, method, path, **{"X-CSRFToken": "a" * 32}).status_code in (200, 202)


def test_a_session_of_a_user_who_is_not_staff_is_403(harness: Harness) -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/metrics").status_code == 403


@pytest.mark.parametrize("path", READS)
def test_staff_may_read_by_session(harness: Harness, staff_client: Client, path: str) -> None:
    assert staff_client.get(path).status_code == 200
    assert staff_client.get(f"{path}/").status_code == 200


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "[fd00::7]:8000", "gateway-7d9f.pods.example"])
def test_a_scrape_with_a_key_may_address_a_replica_by_any_name(
    harness: Harness, settings: Settings, path: str, host: str
) -> None:
    settings.ALLOWED_HOSTS = ["gateway.example"]
    assert Client().get(path, headers={"Host": host, "X-API-Key": harness.keys["read"]}).status_code == 200
    assert (
        Client().get(path, headers={"Host": host, "Authorization": f"Bearer {harness.keys['read']}"}).status_code == 200
    )
    assert Client().get(path, headers={"Host": host, "X-API-Key": "gw_junk"}).status_code == 401


def test_a_session_is_valid_for_allowed_hosts_only(harness: Harness, settings: Settings, staff_client: Client) -> None:
    settings.ALLOWED_HOSTS = ["gateway.example"]
    assert staff_client.get("/metrics", headers={"Host": "10.1.2.3:8000"}).status_code == 400
    assert Client().get("/metrics", headers={"Host": "10.1.2.3:8000"}).status_code == 400


@pytest.mark.usefixtures("one_window")
def test_writes_are_limited_and_reads_are_not(
    harness: Harness, api_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "WRITE_RATE", "3/m")
    assert {send(api_client, "post", "/metrics/cache/reset").status_code for _ in range(3)} == {200}
    limited = send(api_client, "post", "/metrics/cache/reset")
    assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
    assert limited["Retry-After"] == "60"
    assert api_client.get("/metrics").status_code == 200
