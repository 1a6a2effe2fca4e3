"""What is kept for good: counts per service over time, what has been added to them, and who did what."""

from django.db import models

from routing.models import Service


class TimeResolution(models.TextChoices):
    """How much time one row of counts covers. TOTAL is all of it; RESET is what TOTAL said at the last reset."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"
    RESET = "reset"


class Aggregate(models.Model):
    """One service's counts over one stretch of time: rows of the same service merge by adding field to field.

    `start` is Unix seconds, 0 for TOTAL and RESET; `service` is empty where none was found; `counts` is
    `{field: number}` in the words of metrics/counting/counts.py.
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
    """A batch of counts that is in the rows above: added twice, it would count twice."""

    id = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return self.id


class CircuitChange(models.Model):
    """A circuit's move, by the machine's rules or by order: what a timeline is drawn from."""

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
    """One thing that somebody did to the gateway. Written once, never changed.

    `actor` is `staff:ada`, `key:<prefix>` or `command:ada`. `before` and `after` are JSON, free of secrets.
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

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.service}".rstrip()


class Circuit(Service):
    """A service, as the admin lists it by its circuit."""

    class Meta:
        proxy = True


class CachedService(Service):
    """A service, as the admin lists it by what is cached of it."""

    class Meta:
        proxy = True
        verbose_name = "cache"
        verbose_name_plural = "cache"
