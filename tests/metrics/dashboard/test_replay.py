"""The page of replays: its form, its result, and to whom it is shown."""

import json
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from routing.models import ConfigurationRevision
from tests.metrics.replay.recorded import RecordedGateway

pytestmark = pytest.mark.django_db

ADDRESS = "/dashboard/replay/"


def post(client: Client, **values: Any) -> str:
    response = client.post(ADDRESS, values)
    assert response.status_code == 200, response.content
    return unescape(response.content.decode())


def test_a_draft_is_replayed_and_its_result_links_requests(recorded: RecordedGateway, owner: Client) -> None:
    recorded.send(3, "/api/v1/crm/<script>alert(1)</script>")
    draft = json.dumps(recorded.document(rate_limit="1/h", cache={"ttl": 9}))
    raw = owner.post(ADDRESS, {"draft": draft, "limit": "50"}).content.decode()
    assert "2 of 3 requests would end differently" in raw
    assert "<script>alert" not in raw
    assert "/dashboard/requests/" in raw
    page = unescape(raw)
    assert "Routed to a backend" in page
    assert "off → 9 s, per user" in page
    assert "/services/crm/rate_limit" in page
    assert "Header fields, bodies and values of queries are not recorded." in page


def test_the_form_begins_with_a_service_or_a_revision(recorded: RecordedGateway, owner: Client) -> None:
    page = unescape(owner.get(f"{ADDRESS}?service=crm").content.decode())
    assert "services:\n  crm:\n" in page
    revision = ConfigurationRevision.objects.create(actor="a", summary="it", document=json.dumps(recorded.document()))
    assert "selected" in owner.get(f"{ADDRESS}?revision={revision.pk}").content.decode()
    assert "No requests to replay" in post(owner, revision=revision.pk)
    assert (
        f"?revision={revision.pk}"
        in owner.get(f"/admin/routing/configurationrevision/{revision.pk}/change/").content.decode()
    )


def test_faults_are_shown_and_nothing_is_lost(recorded: RecordedGateway, owner: Client) -> None:
    assert "Paste a draft" in post(owner)
    page = post(owner, draft="version: 1\nservices:\n  crm: {targets: 7}\n", service="crm")
    assert "The draft was not replayed." in page
    assert "crm: {targets: 7}" in page
    assert "limit" in post(owner, draft="version: 1", limit="100000")


def test_only_staff_who_may_configure_replay_drafts(recorded: RecordedGateway, staff_client: Client) -> None:
    assert staff_client.get(ADDRESS).status_code == 403
    assert "Replay a draft" not in staff_client.get("/dashboard/requests/").content.decode()
    assert Client().get(ADDRESS).status_code == 302
    checked = Client(enforce_csrf_checks=True)
    checked.force_login(User.objects.create_superuser("root"))
    assert checked.post(ADDRESS, {"draft": "version: 1"}).status_code == 403
    assert "Replay a draft" in checked.get("/dashboard/requests/").content.decode()
