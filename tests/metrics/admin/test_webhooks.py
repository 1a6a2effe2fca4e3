"""The admin pages of webhooks and of their failed deliveries: who may see them, secrets, and replay."""

from types import SimpleNamespace
from typing import Any

import pytest

from metrics import services
from metrics.admin import webhooks as admin_webhooks
from metrics.models import Operation
from routing.database import failed_deliveries
from routing.models import FailedDelivery, Service, Webhook
from routing.webhooks.delivery import Delivery, decode
from tests.metrics.harness import Harness
from tests.routing.pages import browser_form
from tests.staff import member_of

pytestmark = pytest.mark.django_db

WEBHOOKS = "/admin/routing/webhook/"
FAILED = "/admin/routing/faileddelivery/"


@pytest.fixture
def failed(harness: Harness) -> FailedDelivery:
    body = b'{"event": {"text": "<script>private</script>"}}'
    delivery = Delivery("d1", "slack", 1.0, b"h", "http", (), body, ("invalidate",), 5, "forward: status 500")
    failed_deliveries.store(delivery)
    return FailedDelivery.objects.get()


def test_failed_deliveries_are_for_those_who_may_operate(harness: Harness, failed: FailedDelivery) -> None:
    viewer, operator = member_of("Viewer", "vic"), member_of("Operator", "olga")
    for path in (FAILED, f"{FAILED}{failed.pk}/change/"):
        assert viewer.get(path).status_code == 403
        page = operator.get(path)
        assert page.status_code == 200
        assert "forward: status 500" in page.content.decode()
    assert "&lt;script&gt;private" in page.content.decode()
    data = {"action": "replay", "_selected_action": [failed.pk]}
    assert viewer.post(FAILED, data).status_code == 403
    assert FailedDelivery.objects.exists()


@pytest.mark.parametrize("by_row", [True, False])
def test_a_replay_queues_what_is_not_done_and_is_recorded(
    harness: Harness, failed: FailedDelivery, by_row: bool
) -> None:
    operator = member_of("Operator")
    if by_row:
        url = f"{FAILED}{failed.pk}/replay/"
        assert operator.get(url).status_code == 200
        assert FailedDelivery.objects.exists()  # a GET shows the dialog alone
        assert operator.post(url, {"_form_submitted": "on"}).status_code == 302
    else:
        operator.post(FAILED, {"action": "replay", "_selected_action": [failed.pk]})
    assert not FailedDelivery.objects.exists()
    (entry,) = harness.run(harness.deliveries.queue.take(10))
    delivery = decode(entry.data)
    assert (delivery.done, delivery.tries, delivery.error) == (("invalidate",), 0, "")
    assert delivery.id != "d1"
    recorded = Operation.objects.get(action="webhook.replay")
    assert recorded.actor == "staff:ada"
    assert recorded.before is not None
    assert recorded.before["delivery"] == "d1"


def test_a_full_queue_keeps_the_delivery(harness: Harness, failed: FailedDelivery) -> None:
    failed_deliveries.store(decode(bytes(failed.data)))
    harness.deliveries.queue._max_deliveries = 0
    rows = list(FailedDelivery.objects.values_list("pk", flat=True))
    page = member_of("Operator").post(FAILED, {"action": "replay", "_selected_action": rows}, follow=True)
    assert page.content.decode().count("is still listed was not replayed") == 1
    assert FailedDelivery.objects.count() == 2
    assert not Operation.objects.filter(action="webhook.replay").exists()


@pytest.mark.parametrize("action", ["replay", "dismiss"])
def test_of_two_people_at_once_one_replays_a_delivery(
    harness: Harness, failed: FailedDelivery, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Both have read the row when the first of them takes it."""

    def take_first(actor: str, row: FailedDelivery) -> Any:
        if FailedDelivery.objects.exists():
            assert services.replay_delivery("staff:eve", FailedDelivery.objects.get())
        return own(actor, row)

    own = getattr(services, f"{action}_delivery")
    monkeypatch.setattr(admin_webhooks, "services", SimpleNamespace(**{f"{action}_delivery": take_first}))
    page = member_of("Operator").post(FAILED, {"action": action, "_selected_action": [failed.pk]}, follow=True)
    assert f"0 {action}ed" in page.content.decode()
    assert ("Somebody else has replayed" in page.content.decode()) is (action == "replay")
    assert len(harness.run(harness.deliveries.queue.take(10))) == 1
    assert [each.actor for each in Operation.objects.filter(action__startswith="webhook.")] == ["staff:eve"]


def test_a_delivery_is_dismissed(harness: Harness, failed: FailedDelivery) -> None:
    member_of("Operator").post(FAILED, {"action": "dismiss", "_selected_action": [failed.pk]})
    assert not FailedDelivery.objects.exists()
    assert Operation.objects.filter(action="webhook.dismiss").count() == 1


def form(**fields: Any) -> dict[str, Any]:
    return {"name": "slack", "enabled": "on", "syntax": "yaml", **fields}


def test_a_webhook_is_written_as_in_a_file(harness: Harness) -> None:
    owner = member_of("Owner")
    Service.objects.create(name="crm")
    settings = '{verify: slack, secret: "env:GATEWAY_SECRET_A", service: crm, invalidates: ["channel:{event.channel}"]}'
    assert owner.post(f"{WEBHOOKS}add/", form(yaml_text=settings)).status_code == 302
    assert Webhook.objects.get().settings["invalidates"] == ["channel:{event.channel}"]
    assert "/hooks/slack" in owner.get(WEBHOOKS).content.decode()
    for wrong in (
        "{verify: slack}",
        "{verify: slack, secret: a literal one}",
        '{verify: slack, secret: "env:SECRET_KEY"}',
        "[",
        "",
    ):
        page = owner.post(f"{WEBHOOKS}add/", form(name="other", yaml_text=wrong))
        assert page.status_code == 200
        assert "error" in page.content.decode()
    assert Webhook.objects.count() == 1


def test_the_list_shows_what_a_preset_verifies(harness: Harness) -> None:
    Webhook.objects.create(name="crm", settings={"preset": "hubspot", "secret": "env:GATEWAY_SECRET_HUBSPOT"})
    assert "hubspot_v3" in member_of("Viewer").get(WEBHOOKS).content.decode()


def test_no_page_shows_a_literal_secret_and_saving_keeps_it(harness: Harness) -> None:
    hook = Webhook.objects.create(
        name="slack", settings={"verify": "slack", "secret": ["a literal secret", "b literal"]}
    )
    url = f"{WEBHOOKS}{hook.pk}/change/"
    owner = member_of("Owner")
    for client in (owner, member_of("Viewer", "vic")):
        page = client.get(url)
        assert page.status_code == 200
        assert "literal" not in page.content.decode().replace("a literal one", "")
        assert "masked:" in page.content.decode()
    shown = browser_form(owner.get(url))
    assert owner.post(url, {**shown, "syntax": "yaml"}).status_code == 302
    shown.pop("enabled")
    assert owner.post(url, {**shown, "attempts": "3"}).status_code == 302
    hook.refresh_from_db()
    assert hook.settings == {"verify": "slack", "secret": ["a literal secret", "b literal"], "attempts": 3}
    assert not hook.enabled
    assert owner.get(f"{WEBHOOKS}?settings__secret__0=a").status_code in (302, 400)


def test_a_viewer_may_not_change_a_webhook(harness: Harness) -> None:
    viewer = member_of("Viewer")
    assert viewer.get(f"{WEBHOOKS}add/").status_code == 403
    assert viewer.get(WEBHOOKS).status_code == 200
