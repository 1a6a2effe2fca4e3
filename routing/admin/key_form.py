"""The admin's form of an API key."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from routing.admin.guarded_form import GuardedForm
from routing.admin.setting_fields import assembly
from routing.admin.setting_fields.base import UNSET, SettingField, Whole
from routing.admin.setting_fields.items import Quotas
from routing.admin.setting_fields.lists import Choices, Words
from routing.admin.setting_fields.measures import Rate
from routing.admin.setting_fields.suggestions import scope_names
from routing.caller import EVERY_SERVICE
from routing.configuration.faults import ConfigurationError, Path
from routing.configuration.values import SUPPORTED_METHODS, list_of, scope
from routing.keys.scopes import require_known
from routing.models.faults import FaultError


class KeyForm(GuardedForm):
    """Refuse scopes that are unknown or left blank.

    A stored key may keep the scopes it has, or have none. A value that is posted as it was shown is kept.
    """

    LISTS: ClassVar = ("scopes", "methods")
    SECTIONS: ClassVar[dict[str, dict[str, Path]]] = {
        "ip": {"ip_allow": ("allow",), "ip_deny": ("deny",)},
        "limits": {
            "limit_rate": ("rate",),
            "limit_burst": ("burst",),
            "limit_concurrency": ("concurrency",),
            "limit_quota": ("quota",),
        },
    }
    scopes = Words(
        label=_("Scopes"),
        help_text=_("what the key may use: services, scopes that they require, the gateway's own; *: all"),
        suggestions=lambda: [EVERY_SERVICE, *scope_names()],
    )
    methods = Choices(label=_("Methods"), choices=SUPPORTED_METHODS, help_text=_("none: any"))
    ip_allow = Words(label=_("Allowed addresses"), help_text=_("10.0.0.0/8, 2001:db8::/32 or country:DE; none: all"))
    ip_deny = Words(label=_("Denied addresses"), help_text=_("deny wins"))
    limit_rate = Rate(label=_("Rate"), help_text=_("of this key alone"))
    limit_burst = Whole(label=_("Burst"), unit=_("requests"), help_text=_("that may come at once"))
    limit_concurrency = Whole(label=_("At once"), unit=_("requests"), help_text=_("in flight, over all workers"))
    limit_quota = Quotas(label=_("Quotas"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.LISTS:
            self._show(name, getattr(self.instance, name))
        for section, names in self.SECTIONS.items():
            for name, path in names.items():
                self._show(name, assembly.value_at(getattr(self.instance, section), path))

    def _show(self, name: str, value: Any) -> None:
        field = self.fields.get(name)
        if isinstance(field, SettingField):
            self.initial[name] = field.show(UNSET if value is None else value)

    def clean_methods(self) -> Any:
        methods = self.cleaned_data["methods"]
        return self.instance.methods if "methods" not in self.changed_data else None if methods is UNSET else methods

    def clean_scopes(self) -> Any:
        stored, scopes = self.instance.scopes, self.cleaned_data["scopes"]
        if "scopes" not in self.changed_data:
            scopes = stored
        scopes = None if scopes is UNSET else scopes
        if scopes is None and (self.instance.pk is None or stored is not None):
            raise ValidationError(_("Name what the key may use: services, or * for every service."))
        # ApiKey.clean reports values of another form.
        if scopes is not None and _has_form(scopes):
            kept = stored if isinstance(stored, list) else ()
            try:
                require_known(set(scopes).difference(kept))
            except ValueError as fault:
                raise ValidationError(str(fault)) from None
        return scopes

    def _post_clean(self) -> None:
        for section, names in self.SECTIONS.items():
            changed = [name for name in names if name in self.changed_data and name in self.cleaned_data]
            if changed:
                values = {names[name]: self.cleaned_data[name] for name in changed}
                found = assembly.with_values(getattr(self.instance, section), "", values)
                setattr(self.instance, section, found)
        super()._post_clean()

    def _update_errors(self, errors: ValidationError) -> None:
        """Faults of the model, each at the field of its key. The name is Django's."""
        found: dict[str, list[ValidationError]] = {}
        for name, items in errors.error_dict.items():
            for item in items:
                found.setdefault(self._place(name, item), []).append(item)
        super()._update_errors(ValidationError(found))  # type: ignore[misc]  # Django's, which has no types

    def _place(self, name: str, item: ValidationError) -> str:
        names = self.SECTIONS.get(name)
        if names is None:
            return name if name in self.fields else "__all__"
        path = item.fault.path if isinstance(item, FaultError) else ()
        return next((field for field, key in names.items() if key == path[1:2]), next(iter(names)))


def _has_form(scopes: object) -> bool:
    try:
        list_of(scope)(scopes)
    except (ConfigurationError, ValueError):
        return False
    return True
