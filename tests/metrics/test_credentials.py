"""What staff and programs see of credentials for backends: their state, never a secret, and how to drop a token."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from metrics.models import Operation
from resilience.outage import StoreUnavailable
from routing.models import BackendCredential
from routing.router.credential_policy import CredentialPolicy, GrantType
from routing.router.policy import RoutePolicy
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

CIPHERTEXT = "gAAAAAB-not-to-be-shown"


class Forgetful:
    """Credentials that record what they are to forget."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[str, str]] = []
        self.is_unavailable = False

    async def forget(self, service: str, _policy: object, subject: Any) -> None:
        if self.is_unavailable:
            raise StoreUnavailable("away")
        self.forgotten.append((service, subject.id))


@pytest.fixture
def credentials(harness: Harness) -> Forgetful:
    policy = CredentialPolicy(grant=GrantType.CLIENT_CREDENTIALS, token_url="https://login.example.com/token")
    harness.serve(ok(), policy=RoutePolicy(credential=policy))
    found = harness.credentials = Forgetful()
    now = timezone.now()
    rows = [
        ("service", "", now + timedelta(hours=1)),
        ("caller:key:abc", "invalid_grant", None),
        ("caller:key:def", "", now - timedelta(hours=1)),
    ]
    for subject, failure, until in rows:
        BackendCredential.objects.create(
            service="crm",
            subject=subject,
            client="c",
            refresh_token=CIPHERTEXT,
            failure=failure,
            fresh_until=until,
            updated_at=now,
        )
    return found


def test_the_api_lists_states_and_no_secret(harness: Harness, credentials: Forgetful) -> None:
    response = Client().get("/metrics/credentials", headers={"X-API-Key": harness.keys["read"]})
    found = response.json()["credentials"]
    assert {row["credential"]: (row["state"], row["failure"]) for row in found} == {
        "caller:key:abc": ("failed", "invalid_grant"),
        "caller:key:def": ("expired", ""),
        "service": ("fresh", ""),
    }
    assert found[0]["state"] == "failed"
    assert CIPHERTEXT not in response.content.decode()


def test_the_api_forgets_a_token_and_records_who_did(harness: Harness, credentials: Forgetful) -> None:
    def post(path: str, body: Any, key: str = "write") -> Any:
        headers = {"X-API-Key": harness.keys[key]}
        return Client().post(path, body, content_type="application/json", headers=headers)

    path = "/metrics/credentials/crm/forget"
    assert post(path, {"credential": "caller:key:abc"}, "read").status_code == 403
    assert post(path, {"credential": 5}).status_code == 400
    assert post("/metrics/credentials/none/forget", {}).status_code == 404
    response = post(path, {"credential": "caller:key:abc"})
    assert response.json() == {"service": "crm", "credential": "caller:key:abc"}
    assert ("crm", "caller:key:abc") in credentials.forgotten
    assert Operation.objects.get(action="credential.forget").after == {"credential": "caller:key:abc"}
    credentials.is_unavailable = True
    assert post(path, {}).status_code == 503


def test_the_admin_shows_states_and_forgets_tokens(credentials: Forgetful, admin_client: Client) -> None:
    page = admin_client.get("/admin/routing/backendcredential/").content.decode()
    assert "invalid_grant" in page
    assert CIPHERTEXT not in page
    row = BackendCredential.objects.get(subject="service")
    detail = admin_client.get(f"/admin/routing/backendcredential/{row.pk}/change/").content.decode()
    assert CIPHERTEXT not in detail
    form = {"action": "forget", "_selected_action": [row.pk]}
    assert admin_client.post("/admin/routing/backendcredential/", form).status_code == 302
    assert set(credentials.forgotten) == {("crm", "service")}
