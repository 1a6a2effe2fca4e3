"""Identity providers whose tokens are accepted, as the configuration names them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from routing.authentication.issuer_policy import MAX_ISSUER_LENGTH
from routing.configuration.faults import ConfigurationError, format_path
from routing.configuration.issuers import decode_issuer


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
        try:
            decode_issuer(self.to_document(), lambda _name: "")
        except ConfigurationError as error:
            messages: dict[str, list[str]] = {}
            for fault in error.faults:
                field = "issuer" if fault.path[:1] == ("issuer",) or fault.key == "issuer" else "settings"
                path = format_path(fault.path)
                messages.setdefault(field, []).append(f"{path}: {fault.message}" if path else fault.message)
            raise ValidationError(messages) from None
