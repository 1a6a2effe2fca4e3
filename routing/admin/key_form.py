"""The admin's form of an API key."""

from typing import Any

from django.core.exceptions import ValidationError
from django.forms import ModelForm

from routing.configuration.faults import ConfigurationError
from routing.configuration.values import list_of, scope
from routing.keys.scopes import require_known


class KeyForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Refuse scopes that are unknown or left blank.

    A key stored before may keep the scopes it has, none of them too.
    """

    def clean_scopes(self) -> Any:
        scopes, stored = self.cleaned_data["scopes"], self.instance.scopes
        if scopes is None and (self.instance.pk is None or stored is not None):
            raise ValidationError("Name what the key may use: [SERVICE, ...], or ['*'] for every service.")
        # ApiKey.clean reports values of another form.
        if scopes is not None and _has_form(scopes):
            kept = stored if isinstance(stored, list) else ()
            try:
                require_known(set(scopes).difference(kept))
            except ValueError as fault:
                raise ValidationError(str(fault)) from None
        return scopes


def _has_form(scopes: object) -> bool:
    try:
        list_of(scope)(scopes)
    except (ConfigurationError, ValueError):
        return False
    return True
