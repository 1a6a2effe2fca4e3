"""Alerts over HTTP, in the admin and by command: what holds, silences, tests, and who may."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from metrics.alerts.notifier import RecipientResult
from metrics.models import AlertMessage, AlertSilence, AlertState, Operation
from routing.alerts.policy import Alert, AlertCondition, ConditionKind, Recipient, RecipientKind
from routing.models import AlertRule
from routing.router.objectives import Objectives
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.metrics.api.endpoints import send
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db

SLACK = Recipient(RecipientKind.SLACK, "slack:env:GATEWAY_SECRET_SLACK", "https://hooks.slack.com/s3cret")
ALERT = Alert(name="down", conditions=(AlertCondition("circuit.open", ConditionKind.CIRCUIT),), recipients=(SLACK,))


class Recorder:
    """A notifier that fails."""

    async def test(self, name: str | None = None) -> list[RecipientResult]:
        return [RecipientResult(SLACK.label, "the receiver responded with status 403")]


@pytest.fixture
def configured(harness: Harness) -> Harness:
    crm = Service("crm", (Target("http://127.0.0.1:1"),), slo=Objectives(availability=0.999))
    harness.live.table = RouteTable([crm], alerts=[ALERT])
    harness.alerts = Recorder()
    return harness


def state(key: str, **more: Any) -> AlertState:
    fields = {"alert": "down", "condition": "circuit.open", "kind": "circuit.open", "subject": "crm", "service": "crm"}
    return AlertState.objects.create(key=key, summary="the circuit is open", since=NOW, **(fields | more))


def test_what_holds_is_listed_and_no_secret(configured: Harness, staff_client: Client) -> None:
    state("a", notified_at=NOW)
    state("b", subject="billing", service="billing")
    state("c", alert="removed")
    state("d", subject="over", clear_since=NOW)
    changes = [{"kind": "firing", "alert": "down", "condition": "circuit.open", "subject": "crm", "summary": "open"}]
    AlertMessage.objects.create(id="m", recipient=SLACK.label, changes=changes, created_at=NOW, due_at=NOW)
    AlertSilence.objects.create(reason="over", actor="staff:ada", created_at=NOW - 2, ends_at=NOW - 1)
    response = staff_client.get("/metrics/alerts")
    assert "s3cret" not in response.content.decode()
    found = response.json()
    [alert] = found["alerts"]
    assert (alert["name"], alert["conditions"], alert["recipients"]) == ("down", ["circuit.open"], [SLACK.label])
    firing = {each["subject"]: each["notified"] for each in found["firing"]}
    assert list(firing) == ["crm", "billing"]
    assert firing["crm"]
    assert firing["billing"] is None
    assert found["silences"] == []
    assert [(each["state"], each["sent"], len(each["changes"])) for each in found["messages"]] == [("waiting", None, 1)]


def test_a_silence_begins_ends_and_is_in_the_audit_log(configured: Harness) -> None:
    client, key = Client(), configured.keys["both"]
    body = {"alert": "down", "service": "crm", "seconds": 600, "reason": "maintenance"}
    made = send(client, "post", "/metrics/alerts/silences", body, **{"X-API-Key": key})
    assert made.status_code == 201, made.content
    row = AlertSilence.objects.get()
    assert (row.alert, row.service, row.ends_at, row.actor) == ("down", "crm", NOW + 600, f"key:{key[3:11]}")
    assert send(client, "delete", f"/metrics/alerts/silences/{row.pk}", **{"X-API-Key": key}).status_code == 200
    assert send(client, "delete", f"/metrics/alerts/silences/{row.pk}", **{"X-API-Key": key}).status_code == 404
    row.refresh_from_db()
    assert row.ends_at == NOW
    assert [each.action for each in Operation.objects.all()] == ["alert.unsilence", "alert.silence"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"seconds": 600}, 400),
        ({"seconds": 600, "reason": ""}, 400),
        ({"seconds": 59, "reason": "x"}, 400),
        ({"seconds": 31 * 86_400, "reason": "x"}, 400),
        ({"seconds": 600, "reason": "x", "alert": "unknown"}, 404),
        ({"seconds": 600, "reason": "x", "service": "unknown"}, 404),
    ],
)
def test_a_silence_needs_an_end_a_reason_and_what_exists(configured: Harness, body: Any, status: int) -> None:
    found = send(Client(), "post", "/metrics/alerts/silences", body, **{"X-API-Key": configured.keys["both"]})
    assert found.status_code == status
    assert not AlertSilence.objects.exists()


def test_a_test_says_what_became_of_it(configured: Harness) -> None:
    key = {"X-API-Key": configured.keys["both"]}
    found = send(Client(), "post", "/metrics/alerts/test", {"alert": "down"}, **key)
    assert found.json()["results"] == [{"recipient": SLACK.label, "failure": "the receiver responded with status 403"}]
    assert Operation.objects.get().action == "alert.test"
    assert send(Client(), "post", "/metrics/alerts/test", {"alert": "unknown"}, **key).status_code == 404
    forbidden = send(Client(), "post", "/metrics/alerts/test", {}, **{"X-API-Key": configured.keys["read"]})
    assert forbidden.status_code == 403


def test_the_command_sends_tests_and_lists_what_fires(configured: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="1 of 1 recipients"):
        call_command("alerts", "--test")
    assert f"{SLACK.label}: the receiver responded with status 403" in capsys.readouterr().out
    state("a")
    call_command("alerts")
    assert "FIRING crm: the circuit is open" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no alert unknown"):
        call_command("alerts", "--test", "--alert", "unknown")


def test_the_admin_edits_alerts_and_sends_tests(configured: Harness) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    fields = {"name": "down", "syntax": "yaml", "yaml_text": '{on: circuit.open, to: "email:a@example.com"}'}
    assert client.post("/admin/routing/alertrule/add/", fields).status_code == 302
    row = AlertRule.objects.get()
    assert row.settings == {"on": "circuit.open", "to": "email:a@example.com"}
    wrong = {**fields, "name": "b", "yaml_text": '{on: nothing, to: "email:a@b"}'}
    assert "must be a condition such as" in client.post("/admin/routing/alertrule/add/", wrong).content.decode()
    literal = {**fields, "name": "c", "yaml_text": '{on: circuit.open, to: "slack:https://hooks.slack.com/s3cret"}'}
    assert "must be env:GATEWAY_SECRET_NAME" in client.post("/admin/routing/alertrule/add/", literal).content.decode()
    chosen = {"action": "send_test", "_selected_action": [row.pk]}
    page = client.post("/admin/routing/alertrule/", chosen, follow=True).content.decode()
    assert "the receiver responded with status 403" in page
    assert client.get("/admin/routing/alertrule/").status_code == 200
    AlertMessage.objects.create(id="m", recipient="email:a@example.com", created_at=NOW, due_at=NOW, sent_at=NOW)
    assert client.get("/admin/metrics/alertmessage/").status_code == 200
    assert client.get("/admin/metrics/alertmessage/m/change/").status_code == 200
    assert "alert.created" in Operation.objects.values_list("action", flat=True)


def test_objectives_are_in_the_metrics(configured: Harness, staff_client: Client) -> None:
    [objective] = staff_client.get("/metrics").json()["objectives"]["crm"]
    assert (objective["name"], objective["target"], objective["budgetUsed"]) == ("availability", 0.999, 0.0)
    text = staff_client.get("/metrics", headers={"Accept": "text/plain"}).content.decode()
    assert 'gateway_slo_target{objective="availability",service="crm"} 0.999' in text
    assert 'gateway_slo_burn_rate{objective="availability",service="crm",window="1h"} 0.0' in text
