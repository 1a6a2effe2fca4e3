"""The JSON of the metrics API, key by key."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from django.core.validators import RegexValidator
from rest_framework import serializers

from metrics.read_models import CircuitStatus, HoldOffStatus, TrafficStats, WarmResult
from metrics.services import MAX_REASON_LENGTH, MAX_WARM_PATHS
from metrics.timestamps import iso_timestamp
from resilience.breaker.machine import State

MAX_TTL_SECONDS: Final = 30 * 86_400
MAX_STEP_SECONDS: Final = 366 * 86_400
MAX_TIMESTAMP: Final = 32_503_680_000
"""The year 3000, in Unix seconds."""
NO_NUL: Final = r"^[^\u0000]*$"
"""PostgreSQL stores no NUL."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")
_OFFSET: Final = re.compile(r"([T ][0-9:.,]+) ([0-9]{2}(?::?[0-9]{2})?)\Z")
"""The end of a time, and an offset from UTC with a space for its plus."""
_TRUE: Final = frozenset({"1", "true", "True"})


class Timestamp(serializers.DateTimeField):
    """Unix seconds, written as ISO 8601; both are accepted as input. In a query, the plus of an offset that is not
    encoded has become a space.
    """

    def to_representation(self, value: Any) -> str:
        return iso_timestamp(value)

    def to_internal_value(self, value: Any) -> Any:
        try:
            if _NUMBER.fullmatch(value) and 0 <= float(value) <= MAX_TIMESTAMP:
                return datetime.fromtimestamp(float(value), UTC)
            return super().to_internal_value(_OFFSET.sub(r"\1+\2", value))
        except (ValueError, OverflowError, OSError, serializers.ValidationError):
            raise serializers.ValidationError("must be ISO 8601 or Unix seconds") from None


class Text(serializers.CharField):
    """A JSON string. REST framework's takes numbers too, and removes surrounding spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, validators=[RegexValidator(NO_NUL)], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.FloatField):
    """A JSON number. REST framework's takes strings too."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, (str, bool)):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """A JSON boolean. REST framework's takes strings and numbers too."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class QueryFlag(serializers.ChoiceField):
    """A boolean in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=sorted({*_TRUE, "0", "false", "False"}), **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(data) in _TRUE


class QueryInteger(serializers.IntegerField):
    """An integer in a query. REST framework's takes other digits than ASCII's, and spaces."""

    def to_internal_value(self, data: Any) -> int:
        if not _NUMBER.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Milliseconds(serializers.FloatField):
    """Seconds, written as milliseconds."""

    def to_representation(self, value: Any) -> Any:
        return round(value * 1000, 3)


class HitStats(serializers.Serializer[Any]):
    hits = serializers.IntegerField()
    misses = serializers.IntegerField()
    hitRate = serializers.FloatField(source="hit_rate", help_text="percent, two decimals")  # noqa: N815 - a key of the API


class CacheSummary(serializers.Serializer[Any]):
    connected = serializers.BooleanField()
    stats = HitStats(source="*")


class ServiceCacheOutput(HitStats):
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()


class CacheOutput(CacheSummary):
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()
    byService = serializers.DictField(child=ServiceCacheOutput(), source="by_service")  # noqa: N815 - a key of JSON


class HoldOffOutput(serializers.Serializer[HoldOffStatus]):
    calls = serializers.CharField(help_text="the calls that the backend has limited")
    until = Timestamp(help_text="no such call is made until then")


class CircuitOutput(serializers.Serializer[CircuitStatus]):
    state = serializers.ChoiceField(choices=[state.value for state in State])
    failures = serializers.IntegerField()
    successes = serializers.IntegerField()
    totalRequests = serializers.IntegerField(source="total_requests")  # noqa: N815 - a key of JSON
    nextAttemptTime = Timestamp(source="until", required=False, help_text="only of an OPEN circuit")  # noqa: N815 - a key of JSON
    holdOffs = HoldOffOutput(many=True, source="hold_offs", required=False, help_text="only while there are any")  # noqa: N815 - a key of JSON
    quotas = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="what remains of the backend's limits, if it says so",
    )

    def to_representation(self, instance: CircuitStatus) -> dict[str, Any]:
        document: dict[str, Any] = super().to_representation(instance)
        if instance.state != State.OPEN or instance.until is None:
            del document["nextAttemptTime"]
        if not instance.hold_offs:
            del document["holdOffs"]
        if not instance.quotas:
            del document["quotas"]
        return document


class CredentialOutput(serializers.Serializer[Any]):
    """A credential at a backend, without any secret."""

    service = serializers.CharField()
    credential = serializers.CharField(source="subject", help_text="`service`, `tenant:ID` or `caller:ID`")
    state = serializers.ChoiceField(choices=["fresh", "expired", "failed"])
    freshUntil = serializers.DateTimeField(source="fresh_until", allow_null=True)  # noqa: N815 - a key of JSON
    failure = serializers.CharField(help_text="code of the last failure, empty after a success")
    account = serializers.CharField(help_text="of a connected account, if it is known")
    updatedAt = serializers.DateTimeField(source="updated_at", allow_null=True)  # noqa: N815 - a key of JSON


class CredentialsOutput(serializers.Serializer[Any]):
    credentials = CredentialOutput(many=True)


class ForgetInput(serializers.Serializer[Any]):
    credential = Text(min_length=1, max_length=400, default="service")


class ForgetOutput(serializers.Serializer[Any]):
    service = serializers.CharField()
    credential = serializers.CharField()


class CircuitsOutput(serializers.Serializer[Any]):
    stats = serializers.DictField(child=CircuitOutput())
    openCount = serializers.IntegerField()  # noqa: N815 - a key of JSON


class Latency(serializers.Serializer[TrafficStats]):
    p50 = Milliseconds(allow_null=True)
    p95 = Milliseconds(allow_null=True)
    p99 = Milliseconds(allow_null=True)


class Saved(serializers.Serializer[TrafficStats]):
    calls = serializers.IntegerField(source="saved_calls")
    seconds = serializers.FloatField(source="saved_seconds")
    usd = serializers.FloatField(source="saved_usd")


class TrafficStatsOutput(HitStats):
    """Latencies are milliseconds, accurate to 5 %."""

    requests = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment] # a field: REST framework removes it from the class
    rateLimited = serializers.IntegerField(source="rate_limited")  # noqa: N815 - a key of JSON
    latency = Latency(source="*")


class ServiceOutput(TrafficStatsOutput):
    statusClasses = serializers.DictField(child=serializers.IntegerField(), source="status_classes")  # noqa: N815 - a key of JSON
    refused = serializers.IntegerField(help_text="calls refused by the circuit breaker")
    aborted = serializers.IntegerField(help_text="responses aborted by the client or the backend")
    bytes = serializers.IntegerField()
    saved = Saved(source="*")


class PointOutput(TrafficStatsOutput):
    time = Timestamp()


class HistoryOutput(serializers.Serializer[Any]):
    service = serializers.CharField(allow_null=True)
    step = serializers.IntegerField(help_text="seconds")
    points = PointOutput(many=True)


class HistoryInput(serializers.Serializer[Any]):
    service = Text(required=False, default=None)
    to = Timestamp(required=False, default=None)
    step = QueryInteger(required=False, default=60, min_value=60, max_value=MAX_STEP_SECONDS)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": Timestamp(required=False, default=None)}  # a keyword in Python


class MessageOutput(serializers.Serializer[Any]):
    message = serializers.CharField()


class KeysDeletedOutput(serializers.Serializer[Any]):
    keysDeleted = serializers.IntegerField()  # noqa: N815 - a key of JSON


class ServiceKeysDeletedOutput(KeysDeletedOutput):
    service = serializers.CharField()


class DryRunQuery(serializers.Serializer[Any]):
    dry_run = QueryFlag(required=False, default=False, help_text="only count, change nothing")


class InvalidateQuery(DryRunQuery):
    tag = Text(required=False, default=None, min_length=1, max_length=1_000)


class ChangedCircuits(serializers.Serializer[Any]):
    isShared = serializers.BooleanField(  # noqa: N815 - a key of the API
        required=False, help_text="only false, while Redis is unavailable: the change holds in the worker that responds"
    )


class ResetOutput(MessageOutput, ChangedCircuits):
    reset = serializers.ListField(child=serializers.CharField())


class OverrideInput(serializers.Serializer[Any]):
    ttl = NumberField(
        required=False, default=None, allow_null=True, min_value=1, max_value=MAX_TTL_SECONDS, help_text="seconds"
    )
    reason = Text(required=False, default="", allow_blank=True, max_length=MAX_REASON_LENGTH)


class OverrideOutput(ChangedCircuits):
    service = serializers.CharField()
    state = serializers.ChoiceField(choices=[state.value for state in State])


class WarmInput(serializers.Serializer[Any]):
    dry_run = Flag(required=False, default=False, help_text="only count, change nothing")
    paths = serializers.ListField(
        child=Text(max_length=2_000, allow_blank=True), required=False, default=None, max_length=MAX_WARM_PATHS
    )


class WarmOutput(serializers.Serializer[WarmResult]):
    warmed = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="in a dry run: paths whose responses are not shared by all callers")
    wouldWarm = serializers.IntegerField(source="would_warm", required=False, help_text="only in a dry run")  # noqa: N815 - a key of JSON

    def to_representation(self, instance: WarmResult) -> dict[str, Any]:
        document: dict[str, Any] = super().to_representation(instance)
        if instance.would_warm is None:
            del document["wouldWarm"]
        return document
