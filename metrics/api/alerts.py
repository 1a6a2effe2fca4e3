"""`/metrics/alerts`: what holds, silences, and tests of recipients."""

from typing import Any, Final

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from metrics.alerts import operations
from metrics.alerts.change import ChangeKind
from metrics.api import access
from metrics.api.base import LimitedReadView, MetricsView, documented, validate_body
from metrics.api.serializers import Text, Timestamp
from metrics.models import AlertMessage, AlertSilence
from metrics.services import MAX_REASON_LENGTH
from routing.alerts.policy import Alert
from routing.configuration.alerts import MAX_NAME
from routing.rights import Right

MESSAGES: Final = 100
"""The most messages that are listed."""
_TIME: Final = "2026-01-31T12:00:00.000Z"
_SILENCE: Final = {
    "id": 3,
    "alert": "circuit.open",
    "service": "crmIntelligence",
    "reason": "database maintenance",
    "actor": "staff:ada",
    "ends": _TIME,
}
_CHANGE: Final = {
    "status": "firing",
    "alert": "circuit.open",
    "condition": "circuit.open",
    "subject": "crmIntelligence",
    "summary": "the circuit is open: refused",
    "reason": "",
}
_EXAMPLE: Final[dict[str, Any]] = {
    "alerts": [
        {
            "name": "circuit.open",
            "enabled": True,
            "conditions": ["circuit.open"],
            "services": [],
            "recipients": ["slack:env:GATEWAY_SECRET_SLACK"],
            "faults": [],
        }
    ],
    "firing": [
        {
            "alert": "circuit.open",
            "condition": "circuit.open",
            "subject": "crmIntelligence",
            "service": "crmIntelligence",
            "summary": "the circuit is open: refused",
            "since": _TIME,
            "notified": _TIME,
        }
    ],
    "silences": [_SILENCE],
    "messages": [
        {
            "id": "0f3a",
            "recipient": "slack:env:GATEWAY_SECRET_SLACK",
            "state": "sent",
            "created": _TIME,
            "sent": _TIME,
            "tries": 1,
            "failure": "",
            "changes": [_CHANGE],
        }
    ],
}


class AlertOutput(serializers.Serializer[Any]):
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    conditions = serializers.ListField(child=serializers.CharField())
    services = serializers.ListField(child=serializers.CharField(), help_text="empty: every service")
    recipients = serializers.ListField(child=serializers.CharField(), help_text="by the names of their secrets")
    faults = serializers.ListField(child=serializers.CharField())

    def to_representation(self, instance: Alert) -> dict[str, Any]:
        return {
            "name": instance.name,
            "enabled": instance.enabled,
            "conditions": [condition.text for condition in instance.conditions],
            "services": instance.services,
            "recipients": [recipient.label for recipient in instance.recipients],
            "faults": instance.faults,
        }


class FiringOutput(serializers.Serializer[Any]):
    alert = serializers.CharField()
    condition = serializers.CharField()
    subject = serializers.CharField()
    service = serializers.CharField()
    summary = serializers.CharField()
    since = Timestamp()
    notified = Timestamp(source="notified_at", allow_null=True, help_text="null: not yet, or silenced")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        found = super().to_representation(instance)
        return found if instance.notified_at else found | {"notified": None}


class SilenceOutput(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    alert = serializers.CharField(help_text="empty: every alert")
    service = serializers.CharField(help_text="empty: every service")
    reason = serializers.CharField()
    actor = serializers.CharField()
    ends = Timestamp(source="ends_at")


class ChangeOutput(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=[kind.value for kind in ChangeKind], source="kind")
    alert = serializers.CharField()
    condition = serializers.CharField()
    subject = serializers.CharField()
    summary = serializers.CharField()
    reason = serializers.CharField(default="", help_text="why it is resolved; empty if it is not")


class AlertMessageOutput(serializers.Serializer[Any]):
    id = serializers.CharField()
    recipient = serializers.CharField()
    state = serializers.ChoiceField(choices=AlertMessage.State.values)
    created = Timestamp(source="created_at")
    sent = Timestamp(source="sent_at", allow_null=True)
    tries = serializers.IntegerField()
    failure = serializers.CharField(help_text="why the last try failed; empty if it did not")
    changes = ChangeOutput(many=True)

    def to_representation(self, instance: AlertMessage) -> dict[str, Any]:
        found = super().to_representation(instance)
        return found if instance.sent_at else found | {"sent": None}


class AlertsOutput(serializers.Serializer[Any]):
    alerts = AlertOutput(many=True)
    firing = FiringOutput(many=True)
    silences = SilenceOutput(many=True)
    messages = AlertMessageOutput(many=True, help_text="the latest first")


class SilenceInput(serializers.Serializer[Any]):
    alert = Text(required=False, default="", allow_blank=True, max_length=MAX_NAME)
    service = Text(required=False, default="", allow_blank=True, max_length=63)
    seconds = serializers.IntegerField(min_value=operations.MIN_SILENCE, max_value=operations.MAX_SILENCE)
    reason = Text(min_length=1, max_length=MAX_REASON_LENGTH)


class EndedOutput(serializers.Serializer[Any]):
    id = serializers.IntegerField()


class TestInput(serializers.Serializer[Any]):
    alert = Text(required=False, default="", allow_blank=True, max_length=MAX_NAME, help_text="empty: every alert")


class TestResultOutput(serializers.Serializer[Any]):
    recipient = serializers.CharField()
    failure = serializers.CharField(help_text="empty if the recipient has accepted the test")


class TestOutput(serializers.Serializer[Any]):
    results = TestResultOutput(many=True)


class AlertsView(LimitedReadView):
    @documented("alerts", AlertsOutput, _EXAMPLE)
    def get(self, request: Request) -> Response:
        """Get the alerts, which of their conditions hold, the silences, and the latest messages."""
        return Response(AlertsOutput(operations.alerts_now(MESSAGES, access.visible(request))).data)


class AlertTestView(MetricsView):
    @documented(
        "testAlerts",
        TestOutput,
        {"results": [{"recipient": "slack:env:GATEWAY_SECRET_SLACK", "failure": ""}]},
        body=TestInput,
    )
    def post(self, request: Request) -> Response:
        """Send a test message to the recipients of an alert, or of all. They are those of the configuration."""
        name = validate_body(TestInput, request.data)["alert"] or None
        results = operations.send_tests(access.request_actor(request), name)
        return Response(TestOutput({"results": results}).data)


class SilencesView(MetricsView):
    limited = ("POST",)

    @documented("silenceAlerts", SilenceOutput, _SILENCE, code=201, body=SilenceInput)
    def post(self, request: Request) -> Response:
        """Send nothing of an alert, of a service or of everything for some time. What ends is sent nevertheless."""
        data = validate_body(SilenceInput, request.data)
        access.require_service(request, data["service"], Right.OPERATE)
        row: AlertSilence = operations.silence(access.request_actor(request), **data)
        return Response(SilenceOutput(row).data, status=status.HTTP_201_CREATED)


class SilenceView(MetricsView):
    limited = ("DELETE",)

    @documented("endSilence", EndedOutput, {"id": 3})
    def delete(self, request: Request, number: str) -> Response:
        """End a silence before its time."""
        operations.end_silence(access.request_actor(request), int(number), access.visible(request, Right.OPERATE))
        return Response(EndedOutput({"id": int(number)}).data)
