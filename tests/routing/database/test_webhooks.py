"""Webhooks as rows: applied, exported, rolled back, recorded; and deliveries that are kept for staff."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from metrics.models import Operation
from routing.configuration.document import dump
from routing.configuration.faults import ConfigurationError
from routing.database import failed_deliveries, masking, revisions
from routing.database.actor import acting_as
from routing.database.apply import absent_names, apply_document
from routing.database.loader import load, raw_document
from routing.database.named_rows import Changes
from routing.models import ConfigurationRevision, FailedDelivery, Service, Webhook
from routing.webhooks.delivery import Delivery, decode

pytestmark = pytest.mark.django_db

CRM = {"targets": [{"url": "http://127.0.0.1:1"}]}
SLACK: dict[str, Any] = {
    "verify": "slack",
    "secret": "env:GATEWAY_SECRET_A",
    "service": "crm",
    "invalidates": ["a:{b}"],
}


def document(webhooks: Any) -> dict[str, Any]:
    return {"version": 1, "services": {"crm": CRM}, "webhooks": webhooks}


def secret(name: str) -> str | None:
    return "value" if name == "GATEWAY_SECRET_A" else None


def test_what_is_applied_is_exported_and_loaded() -> None:
    assert apply_document(document({"slack": SLACK})).created == ("crm", "webhook slack")
    exported = raw_document()
    assert dump(exported) == dump(document({"slack": SLACK}))
    assert not apply_document(exported)
    changed = document({"slack": SLACK | {"enabled": False}})
    assert apply_document(changed) == Changes(updated=("webhook slack",))
    table = load(secret).table
    assert table.webhooks["slack"].secrets == (b"value",)
    assert not table.webhooks["slack"].enabled
    assert load(lambda _: None).table.webhooks["slack"].faults != ()


def test_webhooks_are_deleted_as_services_are() -> None:
    apply_document(document({"slack": SLACK, "other": SLACK}), origin="file")
    part = document({"slack": SLACK})
    assert absent_names(part) == ("webhook other",)
    assert not apply_document(part, delete=())
    assert apply_document(part, delete=["webhook other"]).deleted == ("webhook other",)
    assert apply_document(document({})).deleted == ("webhook slack",)


def test_a_webhook_needs_its_service() -> None:
    with pytest.raises(ConfigurationError, match="there is no service 'crm'"):
        apply_document({"version": 1, "services": {}, "webhooks": {"slack": SLACK}})
    assert not Webhook.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_history_masks_secrets_and_a_rollback_restores_them() -> None:
    with acting_as("staff:ada"):
        apply_document(document({"slack": SLACK | {"secret": ["a literal secret", "env:GATEWAY_SECRET_A"]}}))
        apply_document(document({}))
    first, second = ConfigurationRevision.objects.order_by("pk")
    assert "webhook slack" in first.summary
    assert "webhook slack" in second.summary
    assert "a literal secret" not in first.document
    assert "masked:" in first.document
    revisions.rollback(first, "staff:ada")
    assert Webhook.objects.get().settings["secret"][0] == "a literal secret"
    assert "a literal secret" not in dump(masking.masked_document().structure)
    recorded = [str((entry.before, entry.after)) for entry in Operation.objects.filter(action__startswith="webhook.")]
    assert len(recorded) == 3
    assert not any("a literal secret" in entry for entry in recorded)
    assert "env:GATEWAY_SECRET_A" in recorded[0]


def test_a_row_that_cannot_be_read_harms_no_other() -> None:
    apply_document(document({"slack": SLACK, "other": SLACK}))
    Webhook.objects.filter(name="other").update(settings=[1, 2])
    webhooks = load(secret).table.webhooks
    assert webhooks["slack"].faults == ()
    assert webhooks["other"].faults != ()


def test_a_row_is_checked_as_a_file_is() -> None:
    Service.objects.create(name="crm")
    Webhook(name="slack", settings=SLACK).full_clean()
    wrong: list[Any] = [SLACK | {"verfy": 1}, SLACK | {"service": "nothing"}, SLACK | {"enabled": True}, [], "x"]
    for settings in wrong:
        with pytest.raises(ValidationError) as error:
            Webhook(name="slack", settings=settings).full_clean()
        assert "settings" in error.value.message_dict


def failed(number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(str(number), "slack", 1.0, b"h", "http", (), body, tries=5, error="e" * 600)


@pytest.mark.django_db(transaction=True)
def test_failed_deliveries_are_bounded_in_number_size_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_deliveries, "MAX_ROWS", 3)
    for number in range(5):
        failed_deliveries.store(failed(number))
    ids = [decode(bytes(row.data)).id for row in FailedDelivery.objects.all()]
    assert ids == ["4", "3", "2"]
    monkeypatch.setattr(failed_deliveries, "MAX_BYTES", 2_500)
    failed_deliveries.store(failed(5, b"x" * 1_000))
    assert FailedDelivery.objects.count() == 2
    FailedDelivery.objects.update(failed_at=datetime.now(UTC) - timedelta(days=8))
    failed_deliveries.store(failed(6))
    (row,) = FailedDelivery.objects.all()
    assert (row.webhook, row.tries, len(row.error)) == ("slack", 5, 500)
