"""Webhooks, and their deliveries that have failed."""

from typing import Any

from django.core.validators import RegexValidator
from django.db import models

from routing.configuration.faults import Fault, Faults
from routing.configuration.webhooks import check_services, decode_webhook
from routing.models.faults import to_validation_error
from routing.models.services import ANY_SECRET, NAME_FORM, Service


class Webhook(models.Model):
    """Deliveries of a provider, at /hooks/<name>. `settings` are as the configuration file writes them."""

    name = models.CharField(max_length=63, unique=True, validators=[RegexValidator(NAME_FORM)])
    enabled = models.BooleanField(default=True)
    settings = models.JSONField(default=dict)
    origin = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """`file` if GATEWAY_CONFIG created it, which may then delete it."""

    class Meta:
        ordering = ("name",)
        constraints = (models.CheckConstraint(condition=models.Q(name__regex=NAME_FORM), name="webhook_name_form"),)

    def __str__(self) -> str:
        return self.name

    def to_document(self) -> dict[str, Any]:
        return {**self.settings, "enabled": self.enabled}

    def clean(self) -> None:
        faults = Faults()
        with faults.at("settings"):
            if not isinstance(self.settings, dict) or "enabled" in self.settings:
                raise ValueError("must be a mapping, without 'enabled'")
            decode_webhook(self.name, self.to_document(), ANY_SECRET)
        names = dict.fromkeys(Service.objects.values_list("name", flat=True))
        named = check_services({self.name: self.settings}, names)
        faults.found += [Fault(("settings", *fault.path[2:]), fault.message) for fault in named]
        if faults.found:
            raise to_validation_error(faults.found, ("settings",))


class FailedDelivery(models.Model):
    """A webhook's delivery whose work has failed, for staff to replay. `data` is an encoded Delivery."""

    webhook = models.CharField(max_length=63)
    failed_at = models.DateTimeField(auto_now_add=True, db_index=True)
    received_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    size = models.PositiveIntegerField(default=0)
    data = models.BinaryField()

    class Meta:
        ordering = ("-pk",)
        verbose_name = "failed delivery"
        verbose_name_plural = "failed deliveries"

    def __str__(self) -> str:
        return f"{self.webhook}: {self.error}"
