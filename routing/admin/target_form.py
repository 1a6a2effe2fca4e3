"""The form of a target."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import UNSET, Json
from routing.admin.stored_secrets import check_reference
from routing.configuration.tls_section import FILES
from routing.models import Target


class TargetForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """TLS settings are written as in the configuration file. They contain no secret: keys are references."""

    tls = Json(label=_("TLS"), help_text=_("{server_name: crm.internal}: on top of the service's"))

    class Meta:
        model = Target
        fields = ("url", "weight", "enabled", "canary", "always_up", "tls")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field, stored = self.fields.get("tls"), self.instance.tls
        if isinstance(field, Json):
            self.initial["tls"] = field.show(UNSET if stored is None else stored)

    def clean_tls(self) -> Any:
        """None for none. A reference to what no service may use is refused."""
        value = self.cleaned_data["tls"]
        if "tls" not in self.changed_data:
            return self.instance.tls
        for name in FILES:
            if isinstance(value, dict):
                check_reference(name, value.get(name))
        return None if value is UNSET else value
