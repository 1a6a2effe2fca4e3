"""Alerts, as the configuration names them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from routing.configuration.alerts import MAX_NAME, decode_alert
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.named_services import named_services
from routing.models.faults import to_validation_error
from routing.models.services import ANY_SECRET, Service


class AlertRule(models.Model):
    """`settings` are as the configuration file writes them."""

    name = models.CharField(max_length=MAX_NAME, unique=True)
    enabled = models.BooleanField(default=True)
    settings = models.JSONField(default=dict)
    origin = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """`file` if GATEWAY_CONFIG created it, which may then delete it."""

    class Meta:
        ordering = ("name",)
        verbose_name = "alert"

    def __str__(self) -> str:
        return self.name

    def to_document(self) -> dict[str, Any]:
        return {"name": self.name, **self.settings, "enabled": self.enabled}

    def clean(self) -> None:
        if not isinstance(self.settings, dict) or not {"name", "enabled"}.isdisjoint(self.settings):
            raise ValidationError({"settings": "must be a mapping, without 'name' and 'enabled'"})
        faults: list[Fault] = []
        try:
            decode_alert(self.to_document(), ANY_SECRET)
        except ConfigurationError as error:
            faults = [
                fault if fault.path[:1] == ("name",) else fault.with_prefix(("settings",)) for fault in error.faults
            ]
        known = set(Service.objects.values_list("name", flat=True))
        missing = [name for name in named_services(self.settings) if name not in known]
        faults += [Fault(("settings", "services"), f"there is no service {name!r}") for name in missing]
        if faults:
            raise to_validation_error(faults, ("name", "settings"))
