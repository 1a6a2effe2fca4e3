"""The admin's form of a row's settings: a field for each setting, or all of them as YAML.

It shows no secret, and accepts none as it is: masks stand for those that are stored.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from routing.admin.guarded_form import GuardedForm
from routing.admin.setting_fields import assembly
from routing.admin.setting_fields.base import UNSET, SettingField, select
from routing.admin.setting_fields.section import Section
from routing.admin.setting_rows.base import RowSettings
from routing.admin.stored_secrets import StoredSecrets
from routing.admin.yaml_text import YamlField, YamlText
from routing.configuration.faults import Fault, Path, format_path
from routing.models.faults import FaultError

SWITCH: Final = "switch"
_SWITCHES: Final = {"on": _("on, with the defaults"), "off": _("off")}
_YAML: Final = "yaml"
F = TypeVar("F", bound="type[SettingsForm]")


def field_name(section: str, path: Path) -> str:
    """The name of the form's field of a section's key."""
    return "__".join((section, *map(str, path)))


def switch_name(section: str) -> str:
    return field_name(section, (SWITCH,))


def with_settings(plain: Mapping[str, Callable[[], SettingField]], sections: Mapping[str, Section]) -> Callable[[F], F]:
    """Give a form the fields of these settings."""
    fields: dict[str, forms.Field] = {name: make() for name, make in plain.items()}
    for name, section in sections.items():
        if section.switch:
            choices = [("", _("as set below")), *((word, _SWITCHES[word]) for word in section.switch)]
            fields[switch_name(name)] = forms.ChoiceField(
                label=section.title, required=False, choices=choices, widget=select(choices, width="setting-unit")
            )
        fields |= {field_name(name, key.path): key.field() for key in section.keys}

    def decorate(form: F) -> F:
        form.plain, form.sections = tuple(plain), sections
        form.declared_fields = {**form.declared_fields, **fields}
        return form

    return decorate


class SettingsForm(GuardedForm):
    """A setting that is posted as it was shown keeps its stored value, and with it its form in the configuration.

    `syntax` is what was edited: the fields, or `yaml`, which then holds for all settings.
    """

    row_settings: ClassVar[type[RowSettings]]
    plain: ClassVar[tuple[str, ...]] = ()
    sections: ClassVar[Mapping[str, Section]] = {}
    syntax = forms.CharField(required=False, widget=forms.HiddenInput)
    yaml_text = YamlField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.yaml_faults: list[Fault] = []
        self._row = self.row_settings(self.instance)
        self._secrets = StoredSecrets(self._row)
        self._yaml = YamlText(self._row, self._secrets)
        self._is_yaml = self.data.get(self.add_prefix("syntax")) == _YAML
        self.initial["yaml_text"] = self._yaml.shown()
        if "yaml_text" in self.fields:
            self.fields["yaml_text"].widget.attrs["data-identity"] = " ".join(self._row.identity)
        empty_values = self._row.empty_values
        for name in self.plain:
            stored = self._secrets.masked(name)
            is_unset = stored is None or (name in empty_values and stored == empty_values[name])
            self._show(name, UNSET if is_unset else stored)
        for name, section in self.sections.items():
            stored = self._secrets.masked(name)
            if section.switch:
                self.initial[switch_name(name)] = assembly.switch_of(stored)
            for key in section.keys:
                self._show(field_name(name, key.path), assembly.value_at(stored, key.path))

    def owner(self) -> str:
        return self._row.owner()

    def fields_as_yaml(self) -> str:
        """The settings as they were read from the fields, with masks in place of secrets. Of a valid form."""
        return self._yaml.text_of(self._secrets.remasked(self._row.settings()))

    def _show(self, name: str, value: Any) -> None:
        field = self.fields.get(name)
        if isinstance(field, SettingField):
            self.initial[name] = field.show(value)

    def _clean_fields(self) -> None:
        """With YAML, the fields of settings are not read."""
        fields = self.fields
        if self._is_yaml:
            self.fields = {name: fields[name] for name in (*self._row.identity, "yaml_text") if name in fields}
        super()._clean_fields()  # type: ignore[misc]  # Django's, which has no types
        self.fields = fields

    def _post_clean(self) -> None:
        if self._is_yaml:
            self._read_yaml()
        else:
            self._read_fields()
        if not self.is_refused():
            super()._post_clean()

    def is_refused(self) -> bool:
        """Whether the values were refused, with an error, before the model validates them."""
        return False

    def _read_yaml(self) -> None:
        if "yaml_text" not in self.cleaned_data:
            return
        for name in self._row.identity:
            if name in self.cleaned_data:
                setattr(self.instance, name, self.cleaned_data[name])
        self._report(self._yaml.read(self.cleaned_data["yaml_text"]))

    def _read_fields(self) -> None:
        changed = set(self.changed_data)
        for name in self.plain:
            if name not in self.cleaned_data:
                continue
            if name in changed:
                value = self.cleaned_data[name]
                self._row.store(name, None if value is UNSET else self._without_masks(name, value))
            self.cleaned_data[name] = self._row.stored(name)  # as Django's form will set it, where it is a column
        for name, section in self.sections.items():
            self._read_section(name, section, changed)

    def _read_section(self, name: str, section: Section, changed: set[str]) -> None:
        names = {field_name(name, key.path): key.path for key in section.keys}
        switch = switch_name(name)
        if (
            not changed.intersection((*names, switch))
            or not self.cleaned_data.keys() >= names.keys() & self.fields.keys()
        ):
            return
        values = {path: self.cleaned_data[field] for field, path in names.items() if field in changed}
        value = assembly.with_values(self._secrets.masked(name), self.cleaned_data.get(switch, ""), values)
        self._row.store(name, self._without_masks(name, value))

    def _without_masks(self, name: str, value: Any) -> Any:
        """The value with the secrets that its masks stand for. Reports faults."""
        found, faults = self._secrets.unmask(name, value)
        self._report(faults)
        return found

    def _report(self, faults: list[Fault]) -> None:
        for fault in faults:
            field, message = self._place(fault)
            self.add_error(field, message)

    def _update_errors(self, errors: ValidationError) -> None:
        """Faults of the model, each at the field of its key. The name is Django's."""
        found: dict[str, list[ValidationError]] = {}
        for name, items in errors.error_dict.items():
            for item in items:
                if isinstance(item, FaultError):
                    field, message = self._place(item.fault)
                    found.setdefault(field or "__all__", []).append(ValidationError(message))
                else:
                    found.setdefault(name if name in self.fields else "__all__", []).append(item)
        super()._update_errors(ValidationError(found))  # type: ignore[misc]  # as above

    def _place(self, fault: Fault) -> tuple[str | None, str]:
        """The form's field for a fault, that of its key or of a key around it, and the message there."""
        prefix = self._row.prefix
        if prefix and fault.path[: len(prefix)] == prefix:
            fault = fault.without_prefix(len(prefix))
        if self._is_yaml:
            located = self._yaml.located(fault)
            self.yaml_faults.append(located)
            return "yaml_text", str(located)
        path: Path = (*fault.path, *([fault.key] if fault.key else []))
        for length in range(len(path), 0, -1):
            name = "__".join(map(str, path[:length]))
            candidates = [name, f"{name}__{SWITCH}", *(each for each in self.fields if each.startswith(f"{name}__"))]
            field = next((each for each in candidates if each in self.fields), None)
            if field is not None:
                rest = format_path(fault.path[length:])
                return field, f"{rest}: {fault.message}" if rest else fault.message
        return None, str(fault)
