"""The field of a list whose items have several values each: a row of controls for each item."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import UNSET, Label, SettingField, aria_label, select
from routing.configuration.document import inline

MAX_ROWS: Final = 64
EMPTY: Final = "empty"
_MODE: Final = "mode"


class RowControl(NamedTuple):
    """One control of each row. `make` is called for each row's widget."""

    name: str
    label: Label
    make: Callable[[], forms.Widget]
    placeholder: str = ""


class RowsWidget(forms.Widget):
    """Its value is a list of lists of texts, in the order of the parts. With `empty`, it is a pair of such a list and
    the choice of what an empty list means.
    """

    template_name = "setting_fields/rows.html"

    def __init__(
        self,
        label: Label,
        parts: tuple[RowControl, ...],
        *,
        row_name: Label,
        add_label: Label,
        is_wide: bool = False,
        empty: Label = "",
    ) -> None:
        super().__init__()
        self._parts, self._row_name, self._add_label, self._is_wide = parts, row_name, add_label, is_wide
        choices = [("", _("as listed")), (EMPTY, empty)]
        self._mode = select(choices, width="setting-unit", **aria_label(label, _("how"))) if empty else None

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows, mode = (value or ([], "")) if self._mode else (value or [], "")
        base = context["widget"]["attrs"].get("id", f"id_{name}")
        blank = [""] * len(self._parts)
        own: dict[str, Any] = {
            "rows": [
                [self._control(name, base, index, *item) for item in zip(self._parts, row, strict=True)]
                for index, row in enumerate([*rows, blank])
            ],
            "blank": [self._control(name, base, "__index__", part, "") for part in self._parts],
            "mode": self._mode.render(f"{name}-{_MODE}", mode, {"id": f"{base}-{_MODE}"}) if self._mode else "",
            "row_name": self._row_name,
            "add_label": self._add_label,
            "limit": MAX_ROWS,
            "is_wide": self._is_wide,
        }
        return context | own

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:  # noqa: ARG002 - Django's signature
        """Rows without any text are left out."""
        rows = []
        for index in range(MAX_ROWS + 1):
            row = [str(data.get(f"{name}-{index}-{part.name}", "")).strip() for part in self._parts]
            if any(row):
                rows.append(row)
        return [rows, str(data.get(f"{name}-{_MODE}", ""))] if self._mode else rows

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:  # noqa: ARG002 - as above
        return f"{name}-0-{self._parts[0].name}" not in data

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-{self._parts[0].name}" if id_ else id_

    def _control(self, name: str, base: str, index: int | str, part: RowControl, text: str) -> dict[str, Any]:
        attributes = {"id": f"{base}-{index}-{part.name}"}
        if part.placeholder:
            attributes["placeholder"] = part.placeholder
        html = part.make().render(f"{name}-{index}-{part.name}", text, attributes)
        return {"label": part.label, "html": html, "id": attributes["id"]}


class RowsField(SettingField):
    """`empty`: what an empty list means, if it differs from a setting that is not set."""

    parts: tuple[RowControl, ...]
    row_name: Label
    add_label: Label
    is_wide = False

    def __init__(self, *, label: Label, help_text: Label = "", empty: Label = "") -> None:
        widget = RowsWidget(
            label,
            self.parts,
            row_name=self.row_name,
            add_label=self.add_label,
            is_wide=self.is_wide,
            empty=empty,
        )
        super().__init__(label=label, help_text=help_text, widget=widget)
        self._can_be_empty = bool(empty)

    def show(self, value: Any) -> Any:
        rows = [] if value is UNSET or value is None else [self._shown_row(item) for item in self.items(value)]
        if not self._can_be_empty:
            return rows
        return [rows, EMPTY if value is not UNSET and value is not None and not rows else ""]

    def read(self, shown: Any) -> Any:
        rows, mode = (shown or ([], "")) if self._can_be_empty else (shown or [], "")
        if len(rows) > MAX_ROWS:
            raise ValidationError(_("Enter at most %(number)d."), params={"number": MAX_ROWS})
        found = []
        for number, row in enumerate(rows, 1):
            try:
                found.append(self.item(row))
            except ValidationError as error:
                raise ValidationError([f"{self.row_name} {number}: {message}" for message in error.messages]) from None
        return self.value(found) if found else [] if mode == EMPTY else UNSET

    def items(self, value: Any) -> list[Any]:
        """The items of a stored value, whatever it is."""
        return list(value) if isinstance(value, list | tuple) else [value]

    def value(self, items: list[Any]) -> Any:
        """The value of at least one item."""
        return items

    def row(self, item: Any) -> list[str]:
        """The texts of an item's controls. Raises ValueError for one that they cannot show."""
        raise NotImplementedError

    def item(self, row: list[str]) -> Any:
        """Raises ValidationError."""
        raise NotImplementedError

    def _shown_row(self, item: Any) -> list[str]:
        try:
            return self.row(item)
        except ValueError:  # a fault, which saving the form reports
            return [*[""] * (len(self.parts) - 1), inline(item)]
