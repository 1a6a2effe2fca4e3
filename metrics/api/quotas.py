"""`/metrics/consumers/NAME/quotas`: what is used of a consumer's quotas; reset, raise once and refund."""

from typing import Any, Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import quotas
from metrics.api import access
from metrics.api.base import MetricsView, documented, validate_body
from metrics.api.serializers import Text, Timestamp

EXAMPLE: Final[dict[str, Any]] = {
    "name": "plan-month",
    "per": "month",
    "limit": 10_000,
    "used": 8_120,
    "remaining": 1_880,
    "resetsAt": "2026-02-01T00:00:00.000Z",
}


class QuotaOutput(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="as in the RateLimit field: whose quota it is, and its period")
    per = serializers.CharField()
    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    remaining = serializers.IntegerField()
    resetsAt = Timestamp(source="resets_at")  # noqa: N815 - a key of JSON


class QuotasOutput(serializers.Serializer[Any]):
    consumer = serializers.CharField()
    quotas = QuotaOutput(many=True)


class QuotaInput(serializers.Serializer[Any]):
    quota = Text(min_length=1, max_length=100, help_text="its name")


class AmountInput(QuotaInput):
    amount = serializers.IntegerField(min_value=1, max_value=quotas.MAX_AMOUNT, help_text="requests")


class ConsumerQuotasView(MetricsView):
    @documented("consumerQuotas", QuotasOutput, {"consumer": "alice@example.com", "quotas": [EXAMPLE]})
    def get(self, request: Request, consumer: str) -> Response:  # noqa: ARG002 - REST framework's signature
        """List what is used of a consumer's quotas in their current periods."""
        found = quotas.quotas_of(consumer)
        return Response(QuotasOutput({"consumer": consumer, "quotas": found}).data)


class QuotaResetView(MetricsView):
    @documented("resetQuota", QuotaOutput, {**EXAMPLE, "used": 0, "remaining": 10_000}, body=QuotaInput)
    def post(self, request: Request, consumer: str) -> Response:
        """Let a quota's current period count from zero."""
        data = validate_body(QuotaInput, request.data)
        return Response(QuotaOutput(quotas.reset(access.request_actor(request), consumer, data["quota"])).data)


class QuotaRaiseView(MetricsView):
    @documented("raiseQuota", QuotaOutput, {**EXAMPLE, "limit": 12_000, "remaining": 3_880}, body=AmountInput)
    def post(self, request: Request, consumer: str) -> Response:
        """Raise a quota's limit until the end of its current period."""
        data = validate_body(AmountInput, request.data)
        actor = access.request_actor(request)
        return Response(QuotaOutput(quotas.extend(actor, consumer, data["quota"], data["amount"])).data)


class QuotaRefundView(MetricsView):
    @documented("refundQuota", QuotaOutput, {**EXAMPLE, "used": 8_020, "remaining": 1_980}, body=AmountInput)
    def post(self, request: Request, consumer: str) -> Response:
        """Uncount requests of a quota's current period."""
        data = validate_body(AmountInput, request.data)
        actor = access.request_actor(request)
        return Response(QuotaOutput(quotas.refund(actor, consumer, data["quota"], data["amount"])).data)
