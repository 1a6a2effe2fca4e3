"""Lists of items with several values: quotas, services with methods, required claims, and recipients of alerts."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from resilience.usage.policy import Anchor, Per
from routing.admin.setting_fields.base import UNSET, Whole, read_yaml, select, text_input, words_of
from routing.admin.setting_fields.rows import RowControl, RowsField
from routing.alerts.policy import RecipientKind
from routing.configuration.alert_recipients import OPTIONS
from routing.configuration.document import inline


def _choices(kind: Any, unset: Any) -> list[tuple[str, Any]]:
    return [("", unset), *((word, word) for word in words_of(kind))]


class Quotas(RowsField):
    """A list of quotas, each an amount of requests in a period."""

    parts = (
        RowControl("amount", _("requests"), lambda: text_input("setting-number", inputmode="numeric"), "10000"),
        RowControl("per", _("per"), lambda: select(_choices(Per, "\u2013"), width="setting-unit")),
        RowControl(
            "anchor", _("begins"), lambda: select(_choices(Anchor, _("calendar (default)")), width="setting-unit")
        ),
        RowControl("timezone", _("time zone"), text_input, "UTC"),
    )
    row_name = _("Quota")
    add_label = _("Add a quota")

    def row(self, item: Any) -> list[str]:
        names = [part.name for part in self.parts]
        if not isinstance(item, dict) or not item.keys() <= set(names):
            raise ValueError
        if any(
            str(item.get(name, "")) not in ("", *words_of(kind)) for name, kind in (("per", Per), ("anchor", Anchor))
        ):
            raise ValueError
        return ["" if item.get(name) is None else str(item[name]) for name in names]

    def item(self, row: list[str]) -> Any:
        amount, *words = row
        number = Whole(label="").read(amount)
        found = {} if number is UNSET else {"amount": number}
        names = [part.name for part in self.parts[1:]]
        return found | {name: word for name, word in zip(names, words, strict=True) if word}


class Access(RowsField):
    """Services, and the methods that may be used of each."""

    parts = (
        RowControl("service", _("service"), text_input),
        RowControl("methods", _("methods"), text_input, "GET, POST"),
    )
    row_name = _("Service")
    add_label = _("Add a service")

    def row(self, item: Any) -> list[str]:
        if isinstance(item, str):
            return [item, ""]
        if not isinstance(item, dict) or len(item) != 1:
            raise ValueError
        ((name, settings),) = item.items()
        methods = (settings or {}).get("methods") if isinstance(settings or {}, dict) else None
        if (settings or {}).keys() - {"methods"} or not isinstance(methods, list | tuple | None):
            raise ValueError
        return [str(name), ", ".join(map(str, methods or ()))]

    def item(self, row: list[str]) -> Any:
        name, methods = row
        if not name:
            raise ValidationError(_("Name the service."))
        words = methods.replace(",", " ").split()
        return {name: {"methods": words}} if words else name


class Claims(RowsField):
    """Claims that tokens must have, and the values of each. Values are written in YAML: `true`, `"true"`, `[a, b]`."""

    parts = (
        RowControl("claim", _("claim"), text_input, "email_verified"),
        RowControl("values", _("value, or values"), text_input, "true"),
    )
    row_name = _("Claim")
    add_label = _("Add a claim")

    def items(self, value: Any) -> list[Any]:
        return list(value.items()) if isinstance(value, dict) else [value]

    def value(self, items: list[Any]) -> Any:
        names = [name for name, _value in items]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValidationError(gettext("%(name)s is there twice.") % {"name": twice[0]})
        return dict(items)

    def row(self, item: Any) -> list[str]:
        if not isinstance(item, tuple):
            raise ValueError
        return [str(item[0]), inline(item[1])]

    def item(self, row: list[str]) -> Any:
        name, text = row
        if not name or not text:
            raise ValidationError(_("Enter a name and a value."))
        return name, read_yaml(text)


class Recipients(RowsField):
    """Who is notified of an alert."""

    parts = (
        RowControl("kind", _("by"), lambda: select(_choices(RecipientKind, "\u2013"), width="setting-unit")),
        RowControl("address", _("address or secret"), text_input, "env:GATEWAY_SECRET_SLACK"),
        RowControl("option", _("own secret (webhook) or URL (pagerduty)"), text_input),
    )
    row_name = _("Recipient")
    add_label = _("Add a recipient")
    is_wide = True

    def value(self, items: list[Any]) -> Any:
        return items if len(items) > 1 else items[0]

    def row(self, item: Any) -> list[str]:
        if isinstance(item, str):
            kind, _colon, address = item.partition(":")
            option = ""
        else:
            kind = next((each for each in OPTIONS if isinstance(item, dict) and each in item), "")
            if not kind or not item.keys() <= {kind, OPTIONS[RecipientKind(kind)]}:
                raise ValueError
            address, option = str(item[kind]), str(item.get(OPTIONS[RecipientKind(kind)], ""))
        if kind not in words_of(RecipientKind):
            raise ValueError
        return [str(kind), address, option]

    def item(self, row: list[str]) -> Any:
        kind, address, option = row
        if not kind or not address:
            raise ValidationError(_("Choose how, and enter where to."))
        if not option:
            return f"{kind}:{address}"
        name = OPTIONS.get(RecipientKind(kind)) if kind in words_of(RecipientKind) else None
        if name is None:
            raise ValidationError(_("Only a webhook has a secret of its own, and only PagerDuty another URL."))
        return {kind: address, name: option}
