"""Aggregated counts, circuit transitions, the audit log, and the admin's views of services."""

from django.db import models

from routing.models import Service


class TimeResolution(models.TextChoices):
    """The period that one row of counts covers. TOTAL is all time; RESET is a copy of TOTAL from the last reset."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"
    RESET = "reset"


class Aggregate(models.Model):
    """One service's counts in one period. Rows of the same service merge by adding field to field.

    `start` is Unix seconds, and 0 for TOTAL and RESET. `service` is empty for requests that matched none. `counts` is
    `{field: number}`, with the fields of metrics/counting/counts.py.
    """

    resolution = models.CharField(max_length=6, choices=TimeResolution.choices)
    start = models.BigIntegerField()
    service = models.CharField(max_length=63, blank=True)
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("resolution", "start", "service"), name="aggregate_once"),)

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
