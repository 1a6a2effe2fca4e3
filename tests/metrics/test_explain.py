"""`POST /api/explain` and the admin's page for it."""

import asyncio
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics import services
from resilience.breaker.machine import State
from resilience.holdoff.policy import HoldOffPolicy
from resilience.partition import Partition
from routing.authentication.api_keys import ApiKeys
from routing.authentication.revocations import Revocation
from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.authentication.signatures.keys import SigningKey
from routing.configuration.consumers import decode_plan
from routing.configuration.decode import decode_service
from routing.configuration.issuers import decode_each_issuer
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.database.api_keys import issue
from routing.models import ANY_SECRET, ApiKey
from routing.presets import shipped
from routing.router.table import RouteTable
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


def explain(harness: Harness, body: Any, key: str = "read") -> Any:
    return Client().post(
        "/api/explain", body, content_type="application/json", headers={"X-API-Key": harness.keys[key]}
    )


def test_it_explains_a_request_without_calling_the_backend(harness: Harness) -> None:
    origin = harness.serve(ok())
    request = {"method": "GET", "path": "/api/v1/crm/contacts/7?a=1", "caller": "firebase:ada"}
    explanation = explain(harness, request).json()
    assert explanation["verdict"]["outcome"] == "the backend is called"
    assert explanation["service"]["route"] == "/contacts/{id}"
    assert explanation["request"] == {
        "method": "GET",
        "path": "/api/v1/crm/contacts/7",
        "query": "a=1",
        "caller": "firebase:ada",
    }
    assert origin.connections == 0


def test_a_caller_is_a_key_prefix_a_hypothetical_caller_or_none(harness: Harness) -> None:
    harness.serve(ok())
    issue(key := ApiKey(name="ci", scopes=["crm"]))
    path = "/api/v1/crm/contacts/7"
    for caller, code in (
        (f"key:{key.prefix}", None),
        ({"id": "x", "scopes": ["crm"]}, None),
        ({"id": "x", "scopes": ["billing"]}, "forbidden"),
        (None, "unauthenticated"),
    ):
        assert explain(harness, {"path": path, "caller": caller}).json()["verdict"]["code"] == code


def test_it_uses_the_current_state_of_the_circuit(harness: Harness) -> None:
    harness.serve(ok())
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "a test")
    explanation = explain(harness, {"path": "/api/v1/crm/contacts/7", "caller": "firebase:ada"}).json()
    assert (explanation["verdict"]["status"], explanation["circuit"]["state"], explanation["circuit"]["reason"]) == (
        503,
        "FORCED_OPEN",
        "a test",
    )


def test_a_call_that_the_backend_has_limited_is_refused(harness: Harness) -> None:
    service = decode_service("crm", {"targets": [{"url": "http://127.0.0.1:1"}], "hold_off": {}}, ANY_SECRET)
    harness.live.table = RouteTable([service])
    limit = harness.hold_offs.limited(Partition("crm", path="/contacts"), HoldOffPolicy(), 30.0)
    asyncio.run_coroutine_threadsafe(limit, harness.loop).result()
    question = {"path": "/api/v1/crm/contacts", "caller": "firebase:ada"}
    verdict = explain(harness, question).json()["verdict"]
    assert (verdict["status"], verdict["code"]) == (429, "backend_limited")
    assert verdict["outcome"] == "refused, unless the cache has a response"
    assert verdict["detail"] == "the service has limited such calls, and accepts them again in 30.0 s"
    assert explain(harness, question | {"path": "/api/v1/crm/deals"}).json()["verdict"]["code"] is None
    harness.clock.advance(31)  # the next call is the probe
    assert explain(harness, question).json()["verdict"]["code"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"path": "crm"},
        {"path": "/", "method": "G T"},
        {"path": "/", "caller": "key:aaaaaaaa"},
        {"path": "/", "callr": None},
        {"path": "/", "headers": {"x": "\u2713"}},
    ],
)
def test_an_invalid_request_is_400(harness: Harness, body: Any) -> None:
    assert explain(harness, body).status_code == 400


def test_it_requires_permission_to_read(harness: Harness, staff_client: Client) -> None:
    assert Client().post("/api/explain").status_code == 401
    assert explain(harness, {"path": "/"}, key="every").status_code == 403
    assert explain(harness, {"path": "/"}, key="write").status_code == 403
    assert (
        staff_client.post("/api/explain", {"path": "/"}, content_type="application/json").status_code == 403
    )  # no token


def test_the_admin_page_shows_the_explanation(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    page = staff_client.get("/admin/explain/", {"path": "/api/v1/CRM/x", "caller": "firebase:ada"}).content.decode()
    assert "crm: names are case-sensitive" in page
    page = staff_client.get(
        "/admin/explain/", {"path": "/api/v1/crm/contacts/<b>", "caller": "firebase:ada"}
    ).content.decode()
    assert "matches: <span data-sentence>the first route that matches" in page
    assert "contacts/<b>" not in page


@pytest.mark.parametrize("name", shipped.names())
def test_the_admin_page_shows_every_setting_of_every_preset(harness: Harness, staff_client: Client, name: str) -> None:
    own = {"preset": name, "targets": [{"url": "http://127.0.0.1:9"}]}
    harness.live.table = RouteTable([decode_service("api", own, ANY_SECRET)])
    for route in shipped.preset(name).service["routes"]:
        method = (route.get("methods") or ["GET"])[-1]
        query = {"method": method, "path": f"/api/v1/api{route['path']}", "caller": "firebase:ada"}
        assert staff_client.get("/admin/explain/", query).status_code == 200
        assert explain(harness, query).status_code == 200


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"path": "crm"}, "path must begin with a slash"),
        ({"path": "/", "caller": "somebody"}, "is not an active API key"),
        ({"path": "/", "headers": "nonsense"}, "Enter each header as Name: value."),
    ],
)
def test_the_admin_page_shows_an_error_at_the_invalid_field(
    harness: Harness, staff_client: Client, query: dict[str, str], error: str
) -> None:
    assert error in staff_client.get("/admin/explain/", query).content.decode()


def test_the_admin_page_shows_numbers_with_their_units(harness: Harness, staff_client: Client) -> None:
    own = {
        "targets": [{"url": "http://127.0.0.1:9"}],
        "cache": {"ttl": "30d", "scope": "shared"},
        "auth": "none",
        "retries": {"budget": 0.125},
    }
    harness.live.table = RouteTable([decode_service("api", own, ANY_SECRET)])
    query = {"path": "/api/v1/api/x"}
    page = staff_client.get("/admin/explain/", query).content.decode()
    for text in (
        "2,592,000 s",
        "fresh for 2592000 s",
        "share: 100 %",
        "budget: 12.5 %",
        "connect: 2 s",
        "requests</dd>",
    ):
        assert text in page, text
    german = staff_client.get("/admin/explain/", query, headers={"Accept-Language": "de"}).content.decode()
    for text in ("2.592.000 s", "budget: 12,5 %", "Anfragen</dd>", ">Ratenlimit<"):
        assert text in german, text


@pytest.mark.parametrize("method", ["PROPFIND", "M-SEARCH", "purge"])
def test_the_admin_page_explains_any_method_that_a_recorded_request_has(
    harness: Harness, staff_client: Client, method: str
) -> None:
    query = {"method": method, "path": "/api/v1/crm/contacts/7", "caller": "firebase:ada"}
    page = staff_client.get("/admin/explain/", query).content.decode()
    assert f'<option value="{method}" selected' in page
    assert 'role="status"' in page
    assert explain(harness, query).json()["request"]["method"] == method.upper()
    assert 'role="status"' not in staff_client.get("/admin/explain/", query | {"method": "A B"}).content.decode()


def test_the_page_requires_staff(harness: Harness) -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/admin/explain/").status_code == 302


def with_issuer(harness: Harness, *, services: list[str] | None = None, revoked: tuple[Revocation, ...] = ()) -> None:
    settings = {"issuer": "https://id.example.com/eu", "audience": "api"} | ({"services": services} if services else {})
    table = harness.live.table
    harness.live.table = RouteTable(
        table.services.values(), issuers=decode_each_issuer([settings], ANY_SECRET), revocations=revoked
    )


JWT = "jwt+id.example.com/eu"


@pytest.mark.parametrize(
    ("caller", "services", "code", "detail"),
    [
        (f"{JWT}:auth0|5", None, None, ""),
        (f"{JWT}+acme:a:b", ["crm"], None, ""),
        (f"{JWT}:ada", ["mail"], "forbidden", "the credential's scopes do not cover this service"),
    ],
)
def test_a_caller_may_be_the_subject_of_an_issuer(
    harness: Harness, caller: str, services: list[str] | None, code: str | None, detail: str
) -> None:
    harness.serve(ok())
    with_issuer(harness, services=services)
    explanation = explain(harness, {"path": "/api/v1/crm/contacts/7", "caller": caller}).json()
    assert (explanation["request"]["caller"], explanation["verdict"]["code"]) == (caller, code)
    assert detail in explanation["verdict"]["detail"]


def test_a_subject_whose_tokens_are_revoked_and_one_of_another_issuer(harness: Harness) -> None:
    harness.serve(ok())
    with_issuer(harness, revoked=(Revocation("", "eve", "", time.time() + 60),))
    path = "/api/v1/crm/contacts/7"
    verdict = explain(harness, {"path": path, "caller": f"{JWT}:eve"}).json()["verdict"]
    assert (verdict["status"], verdict["detail"]) == (401, "the token was revoked")
    for caller in ("jwt+other.example.com:eve", "jwt+:x", "jwt+id.example.com:eve", "mail:ada"):
        assert explain(harness, {"path": path, "caller": caller}).status_code == 400


@pytest.mark.parametrize(
    ("caller", "status", "expected"),
    [
        ("certificate+acme:uri:spiffe://acme/web", 200, None),
        ("certificate+acme:dns:other.acme.test", 200, None),
        ("signature+acme:acme-1", 200, "forbidden"),
        ("certificate+gone:dns:web.test", 200, "unauthenticated"),
        ("certificate+nobody:dns:web.test", 400, "there is no consumer 'nobody'"),
        ("signature+acme:acme-2", 400, "the consumer 'acme' has no signing key 'acme-2'"),
        ("signature+other:acme-1", 400, "the consumer 'other' has no signing key 'acme-1'"),
    ],
)
def test_a_caller_may_be_a_certificate_or_a_signing_key(
    harness: Harness, caller: str, status: int, expected: str | None
) -> None:
    """By the id that logs and the dashboard have."""
    harness.serve(ok())
    key = SigningKey(
        keyid="acme-1",
        algorithm=SignatureAlgorithm.HMAC_SHA256,
        material="x" * 32,
        consumer=1,
        scopes=frozenset({"mail"}),
    )
    harness.live.table = RouteTable(harness.live.table.services.values(), signing_keys=[key])
    names = enumerate(("acme", "other", "gone"), 1)
    records = {number: ConsumerRecord(number, name, name != "gone", 0.0) for number, name in names}
    harness.live.keys = ApiKeys(harness.live.keys.records, ConsumerTable(ConsumerData(consumers=records)))
    response = explain(harness, {"path": "/api/v1/crm/contacts/7", "caller": caller})
    assert response.status_code == status
    if status == 200:
        assert response.json()["verdict"]["code"] == expected
        assert response.json()["request"]["caller"] == caller
    else:
        assert response.json()["detail"] == expected


def test_a_consumer_s_plan_and_its_addresses_are_explained(harness: Harness) -> None:
    harness.serve(ok())
    with_issuer(harness)
    plan = decode_plan("free", {"services": [{"crm": {"methods": ["GET"]}}], "ip": {"allow": ["10.0.0.0/8"]}})
    identity = UserBinding(issuer="https://id.example.com/eu", subject="ada")
    data = ConsumerData({"free": plan}, {}, {1: ConsumerRecord(1, "c", True, 0.0, None, "free")}, {identity: 1})
    harness.live.keys = ApiKeys(harness.live.keys.records, ConsumerTable(data))
    question = {"path": "/api/v1/crm/contacts/7", "caller": f"{JWT}:ada"}
    assert explain(harness, question).json()["verdict"]["code"] is None
    found = explain(harness, question | {"ip": "10.1.2.3"}).json()
    assert (found["verdict"]["code"], found["request"]["ip"]) == (None, "10.1.2.3")
    assert explain(harness, question | {"ip": "192.0.2.1"}).json()["verdict"]["code"] == "address_not_allowed"
    verdict = explain(harness, question | {"method": "POST"}).json()["verdict"]
    assert verdict["detail"] == "the plan does not include this method of the service"
    assert explain(harness, question | {"ip": "10.0.0.0/8"}).status_code == 400


def test_a_key_s_and_a_service_s_addresses_are_explained(harness: Harness) -> None:
    harness.serve(ok())
    issue(key := ApiKey(name="ci", scopes=["crm"], ip={"allow": ["10.0.0.0/8"]}, methods=["GET"]))
    question = {"path": "/api/v1/crm/contacts/7", "caller": f"key:{key.prefix}"}
    assert explain(harness, question).json()["verdict"]["code"] is None
    assert explain(harness, question | {"ip": "::ffff:10.1.1.1"}).json()["verdict"]["code"] is None
    verdict = explain(harness, question | {"ip": "2001:db8::1"}).json()["verdict"]
    assert (verdict["status"], verdict["detail"]) == (403, "the API key may not be used from this address")
    assert explain(harness, question | {"method": "DELETE"}).json()["verdict"]["code"] == "forbidden"
    settings = {"targets": [{"url": "http://127.0.0.1:1"}], "ip": {"deny": ["10.2.0.0/16"]}}
    harness.live.table = RouteTable([decode_service("crm", settings, ANY_SECRET)])
    assert explain(harness, question | {"ip": "10.2.0.1"}).json()["verdict"]["code"] == "address_not_allowed"


def test_the_admin_page_takes_an_address(harness: Harness) -> None:
    harness.serve(ok())
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/explain/", {"path": "/api/v1/crm/x", "caller": "firebase:ada", "ip": "192.0.2.9"})
    assert "Client address" in page.content.decode()
    wrong = client.get("/admin/explain/", {"path": "/api/v1/crm/x", "caller": "", "ip": "here"})
    assert "Enter a valid IPv4 or IPv6 address" in wrong.content.decode()
