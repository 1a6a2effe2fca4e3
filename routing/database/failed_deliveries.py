"""Deliveries of webhooks whose work has failed: kept for staff, bounded in number, size and age."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction

from routing.database.connection import thread_connection
from routing.models import FailedDelivery
from routing.webhooks.delivery import Delivery, encode

MAX_ROWS: Final = 1_000
MAX_BYTES: Final = 64 * 1_024 * 1_024
"""The most bytes of all together. The oldest are deleted first."""
MAX_AGE: Final = timedelta(days=7)


@thread_connection()
def store(delivery: Delivery) -> None:
    """Raises Django's DatabaseError."""
    data = encode(delivery)
    with transaction.atomic():
        FailedDelivery.objects.create(
            webhook=delivery.webhook,
            received_at=datetime.fromtimestamp(delivery.received_at, UTC),
            tries=delivery.tries,
            error=delivery.error[:500],
            size=len(data),
            data=data,
        )
        _delete_oldest()


def _delete_oldest() -> None:
    FailedDelivery.objects.filter(failed_at__lt=datetime.now(UTC) - MAX_AGE).delete()
    total = 0
    for number, (pk, size) in enumerate(FailedDelivery.objects.order_by("-pk").values_list("pk", "size")):
        total += size
        if number >= MAX_ROWS or total > MAX_BYTES:
            FailedDelivery.objects.filter(pk__lte=pk).delete()
            break
