"""Identity providers whose tokens are accepted, as the configuration names them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from routing.authentication.issuer_policy import MAX_ISSUER_LENGTH
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.issuers import EVERY_SERVICE, decode_issuer
from routing.configuration.named_services import named_services
from routing.models.faults import to_validation_error
from routing.models.services import ANY_SECRET, Service


class Issuer(models.Model):
    """`settings` are as the configuration file writes them."""

    issuer = models.CharField(max_length=MAX_ISSUER_LENGTH, unique=True)
    enabled = models.BooleanField(default=True)
    settings = models.JSONField(default=dict)
    origin = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """`file` if GATEWAY_CONFIG created it, and `environment` if ISSUERS did, which may then delete it."""

    class Meta:
        ordering = ("issuer",)

    def __str__(self) -> str:
        return self.issuer

    def to_document(self) -> dict[str, Any]:
        return {"issuer": self.issuer, **self.settings, "enabled": self.enabled}

    def clean(self) -> None:
        if not isinstance(self.settings, dict) or not {"issuer", "enabled"}.isdisjoint(self.settings):
            raise ValidationError({"settings": "must be a mapping, without 'issuer' and 'enabled'"})
        faults: list[Fault] = []
        try:
            decode_issuer(self.to_document(), ANY_SECRET)
        except ConfigurationError as error:
            faults = [
                fault if fault.path[:1] == ("issuer",) else fault.with_prefix(("settings",)) for fault in error.faults
            ]
        known = {EVERY_SERVICE, *Service.objects.values_list("name", flat=True)}
        missing = [name for name in named_services(self.settings) if name not in known]
        faults += [Fault(("settings", "services"), f"there is no service {name!r}") for name in missing]
        if faults:
            raise to_validation_error(faults, ("issuer", "settings"))
