"""The API's JSON, key by key: what contract section 7 promises, and no more."""

from datetime import UTC, datetime
from typing import Any, Final

from rest_framework import serializers

from metrics.read_models import CircuitStatus, TrafficStats, WarmResult
from resilience.breaker.machine import State

LONGEST_TTL: Final = 30 * 86_400
MOST_PATHS: Final = 100


def iso(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Moment(serializers.DateTimeField):
    """Unix seconds, told as ISO 8601; taken as either."""

    def to_representation(self, value: Any) -> str:
        return iso(value)

    def to_internal_value(self, value: Any) -> Any:
        try:
            return datetime.fromtimestamp(float(value), UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            return super().to_internal_value(value)


class Milliseconds(serializers.FloatField):
    """Seconds, told as milliseconds."""

    def to_representation(self, value: Any) -> Any:
        return round(value * 1000, 3)


class HitStats(serializers.Serializer[Any]):
    hits = serializers.IntegerField()
    misses = serializers.IntegerField()
    hitRate = serializers.FloatField(source="hit_rate", help_text="percent, two decimals")  # noqa: N815 - the contract's


class CacheSummary(serializers.Serializer[Any]):
    connected = serializers.BooleanField()
    stats = HitStats(source="*")


class ServiceCacheOutput(HitStats):
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()


class CacheOutput(CacheSummary):
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()
    byService = serializers.DictField(child=ServiceCacheOutput(), source="by_service")  # noqa: N815


class CircuitOutput(serializers.Serializer[CircuitStatus]):
    state = serializers.ChoiceField(choices=[state.value for state in State])
    failures = serializers.IntegerField()
    successes = serializers.IntegerField()
    totalRequests = serializers.IntegerField(source="total_requests")  # noqa: N815
    nextAttemptTime = Moment(source="until", required=False, help_text="of an OPEN circuit alone")  # noqa: N815

    def to_representation(self, instance: CircuitStatus) -> dict[str, Any]:
        told: dict[str, Any] = super().to_representation(instance)
        if instance.state != State.OPEN or instance.until is None:
            del told["nextAttemptTime"]
        return told


class CircuitsOutput(serializers.Serializer[Any]):
    stats = serializers.DictField(child=CircuitOutput())
    openCount = serializers.IntegerField()  # noqa: N815


class Latency(serializers.Serializer[TrafficStats]):
    p50 = Milliseconds(allow_null=True)
    p95 = Milliseconds(allow_null=True)
    p99 = Milliseconds(allow_null=True)


class Saved(serializers.Serializer[TrafficStats]):
    calls = serializers.IntegerField(source="saved_calls")
    seconds = serializers.FloatField(source="saved_seconds")
    usd = serializers.FloatField(source="saved_usd")


class TrafficStatsOutput(HitStats):
    """Latencies are milliseconds, within 5 %."""

    requests = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment] # a field; REST framework takes it off the class
    rateLimited = serializers.IntegerField(source="rate_limited")  # noqa: N815
    latency = Latency(source="*")


class ServiceOutput(TrafficStatsOutput):
    statusClasses = serializers.DictField(child=serializers.IntegerField(), source="status_classes")  # noqa: N815
    refused = serializers.IntegerField(help_text="by the circuit")
    aborted = serializers.IntegerField(help_text="cut short, by the client or the service")
    bytes = serializers.IntegerField()
    saved = Saved(source="*")


class OverviewOutput(serializers.Serializer[Any]):
    timestamp = Moment()
    cache = CacheSummary()
    circuitBreakers = CircuitsOutput()  # noqa: N815
    services = serializers.DictField(child=ServiceOutput(), help_text="under the empty name: what reached no service")


class PointOutput(TrafficStatsOutput):
    time = Moment()


class HistoryOutput(serializers.Serializer[Any]):
    service = serializers.CharField(allow_null=True)
    step = serializers.IntegerField(help_text="seconds")
    points = PointOutput(many=True)


class HistoryInput(serializers.Serializer[Any]):
    service = serializers.CharField(required=False, default=None)
    to = Moment(required=False, default=None)
    step = serializers.IntegerField(required=False, default=60, min_value=60, max_value=366 * 86_400)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": Moment(required=False, default=None)}  # a keyword, in Python


class MessageOutput(serializers.Serializer[Any]):
    message = serializers.CharField()


class KeysDeletedOutput(serializers.Serializer[Any]):
    keysDeleted = serializers.IntegerField()  # noqa: N815


class ServiceKeysDeletedOutput(KeysDeletedOutput):
    service = serializers.CharField()


class DryRunInput(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField(required=False, default=False, help_text="only say how many")


class InvalidateInput(DryRunInput):
    tag = serializers.CharField(required=False, default=None, max_length=1_000)


class ResetOutput(MessageOutput):
    reset = serializers.ListField(child=serializers.CharField())


class OrderInput(serializers.Serializer[Any]):
    ttl = serializers.FloatField(
        required=False, default=None, allow_null=True, min_value=1, max_value=LONGEST_TTL, help_text="seconds"
    )
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)


class OrderOutput(serializers.Serializer[Any]):
    service = serializers.CharField()
    state = serializers.ChoiceField(choices=[state.value for state in State])


class WarmInput(DryRunInput):
    paths = serializers.ListField(
        child=serializers.CharField(max_length=2_000), required=False, default=list, max_length=MOST_PATHS
    )


class WarmOutput(serializers.Serializer[WarmResult]):
    warmed = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="in a dry run: paths that cannot be made ready for all callers")
    wouldWarm = serializers.IntegerField(source="would_warm", required=False, help_text="of a dry run alone")  # noqa: N815

    def to_representation(self, instance: WarmResult) -> dict[str, Any]:
        told: dict[str, Any] = super().to_representation(instance)
        if instance.would_warm is None:
            del told["wouldWarm"]
        return told


class ProblemOutput(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    service = serializers.CharField(required=False)
    retry_after = serializers.IntegerField(required=False)
