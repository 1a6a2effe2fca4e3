"""The API while the database is away or cannot be written."""

import json
import logging

import pytest
from django.db import OperationalError, connection
from django.test import Client

from metrics.models import Operation
from tests.metrics.api.endpoints import send
from tests.metrics.harness import SHARED, Harness, ok

pytestmark = pytest.mark.django_db


def _unavailable(*_: object) -> None:
    raise OperationalError("could not extend file: No space left on device")


def test_circuits_and_the_cache_are_operated_and_what_was_done_is_logged(
    harness: Harness, api_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    harness.serve(ok(), policy=SHARED)
    assert harness.request("/api/v1/crm/x") == 200
    with connection.execute_wrapper(_unavailable), caplog.at_level(logging.ERROR, "metrics.audit"):
        assert api_client.delete("/metrics/cache/crm").json() == {"service": "crm", "keysDeleted": 1}
        opened = send(api_client, "post", "/metrics/circuit-breakers/crm/open").json()
    assert opened == {"service": "crm", "state": "FORCED_OPEN"}
    assert not Operation.objects.exists()
    entries = [json.loads(record.getMessage().partition("): ")[2]) for record in caplog.records]
    assert [(entry["action"], entry["service"]) for entry in entries] == [
        ("cache.invalidate", "crm"),
        ("circuit.open", "crm"),
    ]
    assert entries[1]["after"]["state"] == "FORCED_OPEN"


@pytest.mark.usefixtures("harness")
def test_what_only_the_database_has_is_unavailable(api_client: Client) -> None:
    with connection.execute_wrapper(_unavailable):
        response = api_client.get("/metrics/history")
    assert (response.status_code, response.json()["code"], response["Retry-After"]) == (503, "unavailable", "5")
    assert b"No space" not in response.content
