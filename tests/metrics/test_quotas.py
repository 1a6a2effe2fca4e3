"""Staff and programs show, reset, raise and refund quotas."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from metrics.models import Operation
from resilience.usage.meter import Meter
from routing.authentication.api_keys import ApiKeys
from routing.configuration.consumers import decode_plan
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.database.api_keys import issue
from routing.database.key_records import key_record
from routing.models import ApiKey
from tests.metrics.api.endpoints import send
from tests.metrics.harness import Harness
from tests.staff import member_of

pytestmark = pytest.mark.django_db
PATH = "/metrics/consumers/alice@example.com/quotas"


@pytest.fixture
def meter(harness: Harness) -> Meter:
    """The monthly quota of ten requests of Alice, who has used eight."""
    plan = decode_plan("free", {"quota": [{"amount": 10, "per": "month"}]})
    alice = ConsumerRecord(1, "alice@example.com", True, 0.0, None, "free")
    table = ConsumerTable(ConsumerData(plans={"free": plan}, consumers={1: alice}))
    harness.live.keys = ApiKeys(harness.live.keys.records, table)
    subscription = table.subscription(1)
    assert subscription is not None
    (quota,) = subscription.quotas

    async def use() -> None:
        for _ in range(8):
            await harness.consumer_quotas.take(quota.meter)

    harness.run(use())
    return quota.meter


def shown(client: Client) -> dict[str, Any]:
    (quota,) = client.get(PATH).json()["quotas"]
    return dict(quota)


@pytest.mark.usefixtures("meter")
def test_quotas_are_shown_and_changed_and_changes_recorded(api_client: Client) -> None:
    before = shown(api_client)
    assert before == {
        "name": "plan-month",
        "per": "month",
        "limit": 10,
        "used": 8,
        "remaining": 2,
        "resetsAt": "2023-12-01T00:00:00.000Z",
    }
    refunded = send(api_client, "post", f"{PATH}/refund", {"quota": "plan-month", "amount": 3}).json()
    assert (refunded["used"], refunded["limit"]) == (5, 10)
    raised = send(api_client, "post", f"{PATH}/raise", {"quota": "plan-month", "amount": 4}).json()
    assert (raised["used"], raised["limit"], raised["remaining"]) == (5, 14, 9)
    reset = send(api_client, "post", f"{PATH}/reset", {"quota": "plan-month"}).json()
    assert (reset["used"], reset["limit"]) == (0, 14)
    actions = list(Operation.objects.order_by("pk").values_list("action", flat=True))
    assert actions[-3:] == ["quota.refund", "quota.raise", "quota.reset"]
    assert Operation.objects.get(action="quota.refund").before == {
        "consumer": "alice@example.com",
        "quota": "plan-month",
        "limit": 10,
        "used": 8,
    }


@pytest.mark.usefixtures("meter")
def test_what_does_not_exist_is_named(api_client: Client) -> None:
    missing = api_client.get("/metrics/consumers/bob/quotas")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_consumer")
    wrong = send(api_client, "post", f"{PATH}/reset", {"quota": "plan-day"})
    assert (wrong.status_code, wrong.json()["detail"]) == (404, "the consumer has no quota 'plan-day'")
    for amount in (0, -1, "many", 10**12):
        body = {"quota": "plan-month", "amount": amount}
        assert send(api_client, "post", f"{PATH}/raise", body).status_code == 400


@pytest.mark.usefixtures("meter")
def test_changes_need_the_right_to_operate(harness: Harness) -> None:
    client, body = Client(), {"quota": "plan-month"}
    for name, status in (("none", 403), ("read", 403), ("write", 200)):
        response = send(client, "post", f"{PATH}/reset", body, **{"X-API-Key": harness.keys[name]})
        assert response.status_code == status
    assert client.get(PATH, headers={"X-API-Key": harness.keys["read"]}).status_code == 200
    assert client.get(PATH).status_code == 401


@pytest.mark.usefixtures("meter")
def test_the_command_does_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("quota", "raise", "alice@example.com", "plan-month", "5")
    call_command("quota", "show", "alice@example.com")
    assert "plan-month" in capsys.readouterr().out
    with pytest.raises(CommandError, match="there is no consumer 'bob'"):
        call_command("quota", "show", "bob")


def test_a_key_s_own_quotas_are_reset(harness: Harness, api_client: Client) -> None:
    issue(key := ApiKey(name="app", scopes=["crm"], limits={"quota": [{"amount": 5, "per": "day"}]}))
    record = key_record(key.prefix)
    assert record is not None
    caller = harness.live.keys.caller_of(record)
    assert caller is not None
    assert caller.subscription is not None
    (quota,) = caller.subscription.quotas
    harness.run(harness.consumer_quotas.take(quota.meter))
    path = f"/metrics/consumers/key:{key.prefix}/quotas"
    assert [(item["name"], item["used"]) for item in api_client.get(path).json()["quotas"]] == [("key-day", 1)]
    operator = member_of("Operator")
    listed = "/admin/routing/apikey/"
    data = {"action": "reset_own_quotas", "_selected_action": [key.pk]}
    operator.post(listed, data)
    assert api_client.get(path).json()["quotas"][0]["used"] == 0
    before: Any = Operation.objects.get(action="quota.reset").before
    assert before["consumer"] == f"key:{key.prefix}"
    viewer = member_of("Viewer", "vic")
    assert "reset_own_quotas" not in viewer.get(listed).content.decode()
    assert api_client.get("/metrics/consumers/key:22222222/quotas").status_code == 404
