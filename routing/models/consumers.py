"""Consumers, their teams and their plans. Fields hold settings as the configuration file writes them."""

from datetime import datetime
from typing import Any, Final

import msgspec
from django.core.validators import RegexValidator
from django.db import models

from routing.configuration.consumers import check_item, format_timestamp, unknown_services
from routing.configuration.faults import ConfigurationError
from routing.consumers.policy import CERTIFICATE, CONSUMER_NAME
from routing.models.faults import to_validation_error
from routing.models.services import Service
from routing.router.policy import NAME

PLAN_FORM: Final = f"^{NAME.pattern}$"
CONSUMER_FORM: Final = f"^{CONSUMER_NAME.pattern}$"


class LimitSettings(models.Model):
    """What plans, teams and consumers have in common: their limits."""

    section = ""
    """The section of the configuration file."""
    rate = models.CharField(max_length=32, blank=True, default="")
    burst = models.PositiveIntegerField(null=True, blank=True)
    quota = models.JSONField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    origin = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """`file` if GATEWAY_CONFIG created it, which may then delete it."""

    class Meta:
        abstract = True

    def to_document(self) -> dict[str, Any]:
        """The settings as the configuration file writes them."""
        limits = {"rate": self.rate, "burst": self.burst, "quota": self.quota, "concurrency": self.concurrency}
        return {name: value for name, value in limits.items() if value not in (None, "", [])}

    def clean(self) -> None:
        try:
            check_item(self.section, getattr(self, "name"), self.to_document())  # noqa: B009 - of every subclass
        except ConfigurationError as error:
            raise to_validation_error(error.faults, (field.name for field in self._meta.fields)) from None


class Subscriber(LimitSettings):
    """A team or a consumer: who has a plan, and whose quotas may begin at its sign-up."""

    name = models.CharField(max_length=100, unique=True, validators=[RegexValidator(CONSUMER_FORM)])
    plan = models.ForeignKey("Plan", models.PROTECT, null=True, blank=True)
    signed_up = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    @property
    def anchor(self) -> datetime:
        """When quotas that are anchored at the sign-up began."""
        return self.signed_up or self.created_at

    def to_document(self) -> dict[str, Any]:
        own = {
            "plan": self.plan.name if self.plan else None,
            "signed_up": format_timestamp(self.signed_up) if self.signed_up else None,
        }
        return {name: value for name, value in own.items() if value is not None} | super().to_document()


class Plan(LimitSettings):
    """The limits of each of its consumers, and the services that they may call."""

    section = "plans"
    name = models.CharField(max_length=63, unique=True, validators=[RegexValidator(PLAN_FORM)])
    services = models.JSONField(null=True, blank=True)
    ip = models.JSONField(null=True, blank=True)
    price = models.JSONField(null=True, blank=True)
    offered = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def to_document(self) -> dict[str, Any]:
        optional = {"services": self.services, "ip": self.ip or None, "price": self.price}
        own = {**optional, "offered": self.offered or None}
        return super().to_document() | {name: value for name, value in own.items() if value is not None}

    def clean(self) -> None:
        super().clean()
        services = Service.objects.values_list("name", flat=True)
        missing = [
            fault.without_prefix(2) for fault in unknown_services({self.name: self.to_document()}, set(services))
        ]
        if missing:
            raise to_validation_error(missing, ("services",))


class Team(Subscriber):
    """Consumers whose requests are counted together. Its plan is that of its consumers that have none."""

    section = "teams"

    class Meta:
        ordering = ("name",)


class Consumer(Subscriber):
    """A program, a person or a customer that calls services, with any number of keys and identities."""

    section = "consumers"
    enabled = models.BooleanField(default=True)
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def to_document(self) -> dict[str, Any]:
        own = {"enabled": self.enabled} | ({"team": self.team.name} if self.team else {})
        return own | super().to_document()

    def with_identities(self) -> dict[str, Any]:
        """The same with the consumer's identities."""
        return {**self.to_document(), "identities": [identity.to_document() for identity in self.identities.all()]}


class ConsumerIdentity(models.Model):
    """Users of an issuer whose tokens belong to a consumer: one subject, or all of a tenant. With the issuer
    `certificate`, client certificates: `subject` is then `sha256:HEX`, `uri:URI`, `dns:NAME`, `subject:DN` or `*`, and
    `scopes` are those of callers with such a certificate.
    """

    consumer = models.ForeignKey(Consumer, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255, blank=True, default="")
    tenant = models.CharField(max_length=255, blank=True, default="")
    scopes = models.JSONField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "consumer identities"
        ordering = ("issuer", "subject", "tenant")
        constraints = (models.UniqueConstraint(fields=("issuer", "subject", "tenant"), name="identity_once"),)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.issuer, self.subject, self.tenant)))

    def to_document(self) -> dict[str, Any]:
        scopes = {} if self.scopes is None else {"scopes": self.scopes}
        if self.issuer == CERTIFICATE:
            fields = {"certificate": self.subject, "tenant": self.tenant}
        else:
            fields = {"issuer": self.issuer, "subject": self.subject, "tenant": self.tenant}
        return {name: value for name, value in fields.items() if value} | scopes

    def clean(self) -> None:
        try:
            check_item("consumers", "any", {"identities": [self.to_document()]})
        except ConfigurationError as error:
            faults = (fault.without_prefix(2) for fault in error.faults)
            found = [
                msgspec.structs.replace(fault, path=("subject",)) if fault.path == ("certificate",) else fault
                for fault in faults
            ]
            raise to_validation_error(found, ("issuer", "subject", "tenant", "scopes")) from None


class QuotaUsage(models.Model):
    """What is used of a quota in its current period: see resilience/usage. Times are Unix time."""

    counter = models.CharField(max_length=200, unique=True)
    used = models.BigIntegerField(default=0)
    extra = models.BigIntegerField(default=0)
    since = models.BigIntegerField(default=0)
    ends = models.BigIntegerField(default=0)
    warned = models.PositiveSmallIntegerField(default=0)
    generation = models.CharField(max_length=32, blank=True, default="")

    class Meta:
        indexes = (models.Index(fields=("warned", "ends"), name="quota_warned"),)

    def __str__(self) -> str:
        return f"{self.counter}: {self.used}"
