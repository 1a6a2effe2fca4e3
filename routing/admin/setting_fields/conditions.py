"""The field of conditions: one or several, each of a status, header fields and fields of a JSON body."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import read_yaml, text_input, textarea
from routing.admin.setting_fields.rows import RowControl, RowsField
from routing.configuration.document import inline


class ConditionsField(RowsField):
    """Conditions of which any may hold. Values are written in YAML: `0` is a number, `"0"` a text."""

    parts = (
        RowControl("status", _("status"), text_input, "429, 5xx"),
        RowControl("header", _("header"), lambda: textarea(1), 'X-Quota-Left: "0"'),
        RowControl("body", _("body"), lambda: textarea(1), "error.code: [rateLimitExceeded, quotaExceeded]"),
    )
    row_name = _("Condition")
    add_label = _("Add a condition")
    is_wide = True

    def value(self, items: list[Any]) -> Any:
        return items if len(items) > 1 else items[0]

    def row(self, item: Any) -> list[str]:
        if not isinstance(item, dict) or not item.keys() <= {part.name for part in self.parts}:
            raise ValueError
        return [_shown_status(item.get("status")), *(_shown_map(item.get(part)) for part in ("header", "body"))]

    def item(self, row: list[str]) -> Any:
        status, header, body = row
        found: dict[str, Any] = {}
        if status:
            words = [
                int(word) if word.isascii() and word.isdigit() else word for word in status.replace(",", " ").split()
            ]
            found["status"] = words if len(words) > 1 else words[0]
        for part, text in (("header", header), ("body", body)):
            if text:
                value = read_yaml(text)
                if not isinstance(value, dict):
                    message = gettext("%(part)s: write a name, a colon and a value in each line.")
                    raise ValidationError(message % {"part": part})
                found[part] = value
        return found


def _shown_status(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _shown_map(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict):
        return inline(value)
    return "\n".join(f"{inline(name)}: {inline(item)}" for name, item in value.items())
