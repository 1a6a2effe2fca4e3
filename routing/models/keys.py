"""API keys, and the secrets that their rotation has replaced. Found by Django through routing.models."""

from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import models

from routing.authentication.key_form import ENVIRONMENTS, shown_prefix
from routing.configuration.consumers import decode_limits
from routing.configuration.faults import Faults
from routing.configuration.networks import networks
from routing.configuration.values import list_of, method, scope
from routing.models.consumers import Consumer
from routing.models.faults import to_validation_error

EXPIRES_SOON: Final = timedelta(days=14)


class ApiKey(models.Model):
    """A program's credential. Only a digest of the key is stored.

    `owner` is the person or the team that answers for it, `created_by` who made it. `ip` and `methods` limit where and
    for what it may be used. `warned_for` is the expiry that was last warned of, `warned_days` how many days before.
    """

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    owner = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    scopes = models.JSONField(null=True, blank=True)
    tenant = models.CharField(max_length=100, blank=True)
    consumer = models.ForeignKey(Consumer, models.CASCADE, null=True, blank=True, related_name="keys")
    limits = models.JSONField(null=True, blank=True)
    environment = models.CharField(
        max_length=8, blank=True, default="", db_default="", choices=[(name, name) for name in ENVIRONMENTS]
    )
    methods = models.JSONField(null=True, blank=True)
    ip = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_from = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    last_used_service = models.CharField(max_length=63, blank=True, default="", db_default="", editable=False)
    warned_for = models.DateTimeField(null=True, blank=True, editable=False)
    warned_days = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return f"{self.name} ({self.shown_prefix})"

    @property
    def shown_prefix(self) -> str:
        return shown_prefix(self.prefix, self.environment)

    @property
    def holder(self) -> str:
        """Who is responsible for the key: its owner, its consumer, or its author."""
        made_by = f"created by {self.created_by}" if self.created_by else ""
        return self.owner or (str(self.consumer) if self.consumer else made_by)

    def state(self, now: datetime) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def shown_state(self, now: datetime) -> str:
        """The same for lists and pages, where a key whose consumer is disabled is `disabled`, since it is refused."""
        state = self.state(now)
        return "disabled" if state == "active" and self.consumer is not None and not self.consumer.enabled else state

    def expires_soon(self, now: datetime) -> bool:
        is_valid = self.shown_state(now) == "active"
        return is_valid and self.expires_at is not None and self.expires_at - now <= EXPIRES_SOON

    def clean(self) -> None:
        faults = Faults()
        for field in ("name", "owner"):  # they stand in tables of commands, and in lines of the log
            if not getattr(self, field).isprintable():
                raise ValidationError({field: "must have no line breaks and control characters"})
        with faults.at("scopes"):
            list_of(scope)([] if self.scopes is None else self.scopes)
        with faults.at("limits"):
            decode_limits(self.limits or {})
        if self.methods is not None:
            with faults.at("methods"):
                if not list_of(method)(self.methods):
                    raise ValueError("must name at least one method; without it, all are allowed")
        if self.ip is not None:
            with faults.at("ip"):
                networks(self.ip)
        if faults.found:
            raise to_validation_error(faults.found, ("scopes", "limits", "methods", "ip"))


class RetiredSecret(models.Model):
    """A key's secret that was replaced, accepted until `valid_until`, and how often it has been used since."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="retired")
    digest = models.CharField(max_length=64, unique=True)
    retired_at = models.DateTimeField(auto_now_add=True)
    valid_until = models.DateTimeField(db_index=True)
    uses = models.PositiveBigIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.CharField(max_length=64, blank=True, default="")
    last_used_service = models.CharField(max_length=63, blank=True, default="")

    class Meta:
        ordering = ("-retired_at", "-pk")

    def __str__(self) -> str:
        return f"{self.key}, replaced {self.retired_at:%Y-%m-%d %H:%M}"
