"""`/api/revocations`: what would revoke nothing is refused."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import Client, override_settings

from routing.models import Issuer, Revocation
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db
PATH = "/api/revocations"
ISSUER = "https://login.example.com/"


def post(client: Client, **body: str) -> tuple[int, Any]:
    response = client.post(PATH, body, content_type="application/json")
    return response.status_code, response.json()


def test_an_issuer_that_is_not_configured_is_named(harness: Harness, api_client: Client) -> None:
    status, found = post(api_client, subject="eve", issuer=ISSUER)
    assert (status, found["detail"]) == (400, f"no issuer {ISSUER} is configured: none is configured")
    Issuer.objects.create(issuer=ISSUER, settings={"audience": "api"}, enabled=False)
    for mistyped in ("https://login.example.com:443/", "http://login.example.com", "login.example.com", "\u00e4" * 200):
        status, found = post(api_client, subject="eve", issuer=mistyped)
        assert status == 400
        assert found["detail"].endswith(f"is configured: those configured are {ISSUER}")
    assert not Revocation.objects.exists()
    for accepted in (ISSUER, ISSUER.removesuffix("/"), ""):
        assert post(api_client, subject="eve", issuer=accepted)[0] == 201


def test_the_project_of_firebase_is_an_issuer(harness: Harness, api_client: Client) -> None:
    own = msgspec.structs.replace(settings.CONFIG.firebase, project="acme-1")
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, firebase=own)):
        assert post(api_client, subject="uid", issuer="https://securetoken.google.com/acme-1")[0] == 201
        assert post(api_client, subject="uid", issuer="https://securetoken.google.com/other")[0] == 400
        for caller in ("firebase:uid", "firebase+acme:uid"):
            status, found = post(api_client, subject=caller)
            assert (status, found["detail"]) == (
                400,
                "this is the id of a caller: its subject is uid, a user of Firebase",
            )
    assert post(api_client, subject="firebase:uid")[0] == 201, "without a project it may be a subject of another issuer"


@pytest.mark.parametrize("subject", ["auth0|eve\n", " eve", "eve ", "a\x07b", "a\u200bb"])
def test_a_subject_that_no_token_has_is_refused(harness: Harness, api_client: Client, subject: str) -> None:
    """As it is pasted: nothing would be revoked."""
    status, found = post(api_client, subject=subject)
    assert (status, found["detail"]) == (
        400,
        "subject has spaces around it, or characters that are not printable: no token has",
    )
    assert not Revocation.objects.exists()


@pytest.mark.parametrize("kind", ["jwt+login.example.com/", "jwt+login.example.com/+acme%2FEU"])
def test_the_id_of_a_caller_is_no_subject(harness: Harness, api_client: Client, kind: str) -> None:
    """It is what logs and backends have."""
    Issuer.objects.create(issuer=ISSUER, settings={"audience": "api"})
    status, found = post(api_client, subject=f"{kind}:auth0|eve:1")
    assert (status, found["detail"]) == (
        400,
        f"this is the id of a caller: its subject is auth0|eve:1, and its issuer {ISSUER}",
    )
    assert post(api_client, subject="jwt+elsewhere.example:eve")[0] == 201
    assert post(api_client, subject="auth0|eve:1")[0] == 201
