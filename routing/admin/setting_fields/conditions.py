"""The field of conditions: one or several, each of a status, header fields and fields of a JSON body."""

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from routing.admin.setting_fields.base import UNSET, SettingField, read_yaml, text_input, textarea
from routing.configuration.document import inline

PARTS: Final = ("status", "header", "body")
MAX_ROWS: Final = 64
_PLACEHOLDERS: Final = {
    "status": "429, 5xx",
    "header": 'X-Quota-Left: "0"',
    "body": "error.code: [rateLimitExceeded, quotaExceeded]",
}


class ConditionsWidget(forms.Widget):
    """Three controls for each condition. Its value is a list of lists of their texts, in the order of PARTS."""

    template_name = "setting_fields/conditions.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows = [*(value or []), ["", "", ""]]
        base = context["widget"]["attrs"].get("id", f"id_{name}")
        controls = [
            [self._control(name, base, index, *item) for item in zip(PARTS, row, strict=True)]
            for index, row in enumerate(rows)
        ]
        blank = [self._control(name, base, "__index__", part, "") for part in PARTS]
        return context | {"rows": controls, "blank": blank}

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[list[str]]:  # noqa: ARG002 - Django's signature
        """Rows without any text are left out."""
        rows = []
        for index in range(MAX_ROWS + 1):
            row = [str(data.get(f"{name}-{index}-{part}", "")).strip() for part in PARTS]
            if any(row):
                rows.append(row)
        return rows

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:  # noqa: ARG002 - as above
        return f"{name}-0-status" not in data

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-status" if id_ else id_

    def _control(self, name: str, base: str, index: int | str, part: str, text: str) -> dict[str, str]:
        attributes = {"id": f"{base}-{index}-{part}", "placeholder": _PLACEHOLDERS[part]}
        widget: forms.Widget = text_input() if part == "status" else textarea(1)
        html = widget.render(f"{name}-{index}-{part}", text, attributes)
        return {"part": part, "html": html, "id": attributes["id"]}


class ConditionsField(SettingField):
    """Conditions of which any may hold. Values are written in YAML: `0` is a number, `"0"` a text."""

    def __init__(self, *, label: str, help_text: str = "") -> None:
        super().__init__(label=label, help_text=help_text, widget=ConditionsWidget())

    def show(self, value: Any) -> list[list[str]]:
        if value is UNSET or value is None:
            return []
        items = value if isinstance(value, list | tuple) else [value]
        return [self._row(item) for item in items]

    def read(self, shown: Any) -> Any:
        if len(shown or ()) > MAX_ROWS:
            raise ValidationError(f"Enter at most {MAX_ROWS} conditions.")
        found = [_condition(number, row) for number, row in enumerate(shown or (), 1)]
        return found if len(found) > 1 else found[0] if found else UNSET

    def _row(self, item: Any) -> list[str]:
        if not isinstance(item, dict) or not item.keys() <= set(PARTS):
            return ["", "", inline(item)]  # a fault, which saving the form reports
        return [_shown_status(item.get("status")), *(_shown_map(item.get(part)) for part in ("header", "body"))]


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


def _condition(number: int, row: list[str]) -> dict[str, Any]:
    """Raises ValidationError."""
    status, header, body = row
    found: dict[str, Any] = {}
    if status:
        words = [int(word) if word.isdigit() else word for word in status.replace(",", " ").split()]
        found["status"] = words if len(words) > 1 else words[0]
    for part, text in (("header", header), ("body", body)):
        if text:
            value = read_yaml(text)
            if not isinstance(value, dict):
                raise ValidationError(f"Condition {number}, {part}: write a name, a colon and a value in each line.")
            found[part] = value
    return found
