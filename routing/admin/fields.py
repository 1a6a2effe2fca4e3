"""Form fields of the admin with their help texts."""

from typing import Any, Final

from django.db import models
from django.forms import Field, NullBooleanField, TypedChoiceField
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

HELP_TEXTS: Final[dict[str, Promise]] = {
    "preset": _(
        "settings for a well-known API, which the settings below are put on top of; "
        "manage.py config preset NAME shows them"
    ),
    "owner": _("the person or team that answers for the key"),
    "environment": _("part of the key's text; a gateway with another GATEWAY_ENVIRONMENT refuses the key"),
    "offered": _("consumers see the plan in the portal, and may ask for it"),
    "signed_up": _("where quotas with anchor: signup begin; empty: when it was created"),
    "canary": _("5: receives the requests of 5 % of the callers, always the same ones, and no others"),
    "always_up": _("used regardless of failures and health checks"),
    "path": _("/mailboxes/{user}/messages, /files/*"),
    "idempotency": _(
        "keep the first response to a POST or PATCH with an Idempotency-Key for a day; return it to retries"
    ),
}


class HelpTextsMixin:
    """Form fields with help texts, and with a word for the choice of none."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> Field | None:
        if db_field.name in HELP_TEXTS:
            options["help_text"] = HELP_TEXTS[db_field.name]
        field: Field | None = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc] # a mixin
        if isinstance(field, NullBooleanField):
            field.widget.choices = [("unknown", _("default")), ("true", _("yes")), ("false", _("no"))]
        elif isinstance(field, TypedChoiceField) and not field.required:
            field.choices = [("", _("default")), *(db_field.choices or ())]
        return field
