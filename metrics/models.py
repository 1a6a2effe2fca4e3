"""Aggregated counts, circuit transitions, the audit log, and the admin's views of services."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from routing.models import Service


class TimeResolution(models.TextChoices):
    """The period that one row of counts covers. TOTAL is all time; RESET is a copy of TOTAL from the last reset.

    The last two have what is counted by route, in rows of their own: others are read much more often.
    """

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"
    RESET = "reset"
    ROUTES_TEN_MINUTES = "r10min"
    ROUTES_DAY = "rday"


class Aggregate(models.Model):
    """One service's counts in one period. Rows of the same service merge by adding field to field.

    `start` is Unix seconds, and 0 for TOTAL and RESET. `service` is empty for requests that matched none, and `*` in
    the sums over all services. `counts` is `{field: number}`, with the fields of metrics/counting/counts.py.
    """

    resolution = models.CharField(max_length=6, choices=TimeResolution.choices)
    start = models.BigIntegerField()
    service = models.CharField(max_length=63, blank=True)
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("resolution", "start", "service"), name="aggregate_once"),)
        indexes = (models.Index(fields=("service", "resolution", "start"), name="aggregate_of_service"),)

    def __str__(self) -> str:
        return f"{self.resolution} {self.start} {self.service or '-'}"


class Batch(models.Model):
    """The id of a batch that has been added to the aggregates, so that it is not added again."""

    id = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return self.id


class CircuitChange(models.Model):
    """A circuit's transition, made by the circuit breaker or by an operator."""

    at = models.DateTimeField(db_index=True)
    service = models.CharField(max_length=63)
    before = models.CharField(max_length=16)
    after = models.CharField(max_length=16)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.service}: {self.before} to {self.after}"


class Operation(models.Model):
    """An entry of the audit log. Never changed once written.

    `actor` is `staff:ada`, `key:<prefix>` or `command:ada`. `before` and `after` are JSON without secrets.
    """

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=64)
    service = models.CharField(max_length=63, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    request_id = models.CharField(max_length=128, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.service}".rstrip()


class Identity(models.Model):
    """Somebody whom an identity provider names, and their user. Nothing but issuer and subject identifies them."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=200)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)
    last_login = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("issuer", "subject")
        constraints = (models.UniqueConstraint(fields=("issuer", "subject"), name="person_once"),)
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class Circuit(Service):
    """A service, listed in the admin by its circuit."""

    class Meta:
        proxy = True


class CachedService(Service):
    """A service, listed in the admin by its cache usage."""

    class Meta:
        proxy = True
        verbose_name = "cache"
        verbose_name_plural = "cache"


class DailyUsage(models.Model):
    """What was used of a service's route on one day: see metrics/usage/record.py, whose names the fields have.

    `key` is the digest of the other key fields, whose texts are too long for an index. `emitted` are the counts that
    are in events already; `is_emitted` if all are. `last_at` is when it was used last, in Unix seconds; 0 in rows of
    versions that did not record it, nor refusals and API keys of consumers.
    """

    key = models.CharField(max_length=32, unique=True)
    day = models.DateField()
    consumer = models.CharField(max_length=300, blank=True, default="")
    caller = models.TextField(blank=True, default="")
    team = models.TextField(blank=True, default="")
    service = models.CharField(max_length=63, blank=True, default="")
    route = models.TextField(blank=True, default="")
    currency = models.CharField(max_length=3, blank=True, default="")
    api_key = models.CharField(max_length=16, blank=True, default="", db_default="")
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    cached = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    backend_us = models.BigIntegerField(default=0)
    amount = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0, db_default=0)
    limited = models.BigIntegerField(default=0, db_default=0)
    last_at = models.BigIntegerField(default=0, db_default=0)
    emitted = models.JSONField(default=list)
    is_emitted = models.BooleanField(default=False, db_index=True)

    class Meta:
        verbose_name_plural = "daily usage"
        indexes = (
            models.Index(fields=("day",), name="usage_day"),
            models.Index(fields=("consumer", "day"), name="usage_consumer_day"),
            models.Index(fields=("api_key", "day"), name="usage_key_day"),
        )

    def __str__(self) -> str:
        return f"{self.day} {self.consumer or self.caller or '-'} {self.service}{self.route}"


class UsageEvent(models.Model):
    """A CloudEvent that is still to be delivered. `rejection` is why its receiver will not accept it; it is then kept
    for operators, and not sent again.
    """

    id = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(db_index=True)
    event = models.JSONField()
    rejection = models.CharField(max_length=300, blank=True, default="", db_index=True)

    class Meta:
        ordering = ("at", "id")

    def __str__(self) -> str:
        return self.id


class UsageDelivery(models.Model):
    """The one row that says which worker delivers events, until when, and how the last tries have ended. `made_at` is
    when events were made last. `installation` is part of the ids of events: two gateways may send them to one receiver.

    Times are Unix time, 0 for never.
    """

    installation = models.CharField(max_length=32)
    owner = models.CharField(max_length=32, blank=True, default="")
    claimed_until = models.FloatField(default=0)
    made_at = models.FloatField(default=0)
    retry_at = models.FloatField(default=0)
    failures = models.PositiveIntegerField(default=0)
    failure = models.CharField(max_length=300, blank=True, default="")
    delivered_at = models.FloatField(default=0)

    def __str__(self) -> str:
        return self.failure or "delivering"


class AlertState(models.Model):
    """A condition of an alert that holds, or has just ceased to: see metrics/alerts/change.py, whose names it has.

    `key` is the digest of alert, condition and subject. `told` are the labels of the recipients that were sent that it
    holds; null if an earlier version has not recorded them. Times are Unix time, 0 for never.
    """

    key = models.CharField(max_length=32, unique=True)
    alert = models.CharField(max_length=100)
    condition = models.CharField(max_length=100)
    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=500)
    service = models.CharField(max_length=63, blank=True, default="")
    summary = models.CharField(max_length=500)
    since = models.FloatField()
    notified_at = models.FloatField(default=0)
    clear_since = models.FloatField(default=0)
    told = models.JSONField(null=True, default=None)

    class Meta:
        ordering = ("since", "key")

    def __str__(self) -> str:
        return f"{self.alert}: {self.summary}"


class AlertMessage(models.Model):
    """A message to one recipient of alerts, sent or still to be sent. `id` is the same whenever it is tried again.

    `recipient` is its name in the configuration, and has no secret. `changes` are Change records. `owner` is the worker
    that sends it now, and may until `claimed_until`. Times are Unix time, 0 for never.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")

    id = models.CharField(max_length=32, primary_key=True)
    recipient = models.CharField(max_length=700)
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    changes = models.JSONField(default=list)
    created_at = models.FloatField(db_index=True)
    due_at = models.FloatField()
    sent_at = models.FloatField(default=0)
    tries = models.PositiveIntegerField(default=0)
    failure = models.CharField(max_length=300, blank=True, default="")
    owner = models.CharField(max_length=32, blank=True, default="")
    claimed_until = models.FloatField(default=0)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("state", "created_at"), name="alert_message_state"),)
        verbose_name = "alert message"

    def __str__(self) -> str:
        return f"{self.recipient}: {self.state}"


class AlertSilence(models.Model):
    """No messages about what begins or goes on to hold, until `ends_at` (Unix time). Empty: of every alert, service."""

    alert = models.CharField(max_length=100, blank=True, default="")
    service = models.CharField(max_length=63, blank=True, default="")
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=200)
    created_at = models.FloatField()
    ends_at = models.FloatField(db_index=True)

    class Meta:
        ordering = ("ends_at", "pk")

    def __str__(self) -> str:
        return f"{self.alert or 'every alert'}, {self.service or 'every service'}: {self.reason}"


class AlertWatch(models.Model):
    """The one row that says which worker watches the conditions of alerts, and until when (Unix time)."""

    owner = models.CharField(max_length=32, blank=True, default="")
    claimed_until = models.FloatField(default=0)

    def __str__(self) -> str:
        return self.owner or "nobody"
