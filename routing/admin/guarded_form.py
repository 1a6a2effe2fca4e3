"""Forms that notice when somebody else has changed what they show before they are saved."""

import json
from typing import Any, ClassVar, Final

from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.forms import ModelForm
from django.forms.models import model_to_dict
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from routing.models import ConfigurationRevision

SEEN: Final = "seen"
"""The field with a digest of the values that the form was made from."""
_SALT: Final = "routing.admin.guarded_form"
_DIGEST_LENGTH: Final = 32
_MAX_CHANGES: Final = 50
_MAX_DIGITS: Final = 16


class GuardedFieldsets:
    """For a ModelAdmin whose form is a GuardedForm, with fieldsets or fields."""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fieldsets(request, obj)  # type: ignore[misc]  # a ModelAdmin's
        may_save = obj is not None and self.has_change_permission(request, obj)  # type: ignore[attr-defined]  # as above
        if not may_save or SEEN in flatten_fieldsets(found):
            return found
        (title, first), *others = found
        return ((title, {**first, "fields": (*first["fields"], SEEN)}), *others)


class GuardedForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form that was made from values that are no longer stored is shown again, with an error. If it is then saved
    once more, it replaces them. A program may post it without the field: nothing is compared then.
    """

    guarded: ClassVar[tuple[str, ...]] = ()
    """Related rows that are edited on the same page."""
    unguarded: ClassVar[frozenset[str]] = frozenset({"position"})
    """Columns that change without the form, as a route is moved on the list of routes."""
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_guarded = self.instance.pk is not None and SEEN in self.fields
        if self.is_guarded:
            self.initial[SEEN] = f"{self._digest()}.{_latest(ConfigurationRevision)}.{_latest(LogEntry)}"

    def owner(self) -> str:
        """The name by which the history may know the row."""
        return str(self.instance)

    def _post_clean(self) -> None:
        if self.is_guarded:
            self._compare()
        super()._post_clean()  # type: ignore[misc]  # Django's, which has no types

    def _compare(self) -> None:
        digest, *latest = str(self.data.get(self.add_prefix(SEEN), "")).split(".")
        if not digest or digest == self.initial[SEEN].partition(".")[0]:
            return
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict
        data[self.add_prefix(SEEN)] = self.initial[SEEN]
        self.data = data
        actors = self._actors(*map(int, latest)) if len(latest) == 2 and all(map(_is_number, latest)) else []
        text = _(
            "%(name)s was changed by somebody else since this page was opened%(actors)s. The form shows your entries: "
            "saving it again also undoes that change. To begin with what is stored now, load the page again."
        )
        self.add_error(None, text % {"name": self.instance, "actors": f" ({', '.join(actors)})" if actors else ""})

    def _digest(self) -> str:
        """The digest of the stored rows. Keyed, since they may have secrets."""
        rows = [self.instance, *(row for name in self.guarded for row in getattr(self.instance, name).all())]
        values = [model_to_dict(row, exclude=self.unguarded) for row in rows]
        found = [{name: _comparable(value) for name, value in each.items()} for each in values]
        text = json.dumps(found, sort_keys=True, default=str)
        return salted_hmac(_SALT, text, algorithm="sha256").hexdigest()[:_DIGEST_LENGTH]

    def _actors(self, revision: int, entry: int) -> list[str]:
        """Who has changed the row since this revision of the history and this entry of the admin's log."""
        revisions = ConfigurationRevision.objects.filter(pk__gt=revision).values_list("actor", "summary")
        named = {actor for actor, summary in revisions[:_MAX_CHANGES] if self.owner() in _words(summary)}
        content = ContentType.objects.get_for_model(self.instance)
        entries = LogEntry.objects.filter(pk__gt=entry, content_type=content, object_id=str(self.instance.pk))
        return sorted(named.union(f"staff:{entry.user}" for entry in entries.select_related("user")[:_MAX_CHANGES]))


def _latest(model: type[Model]) -> int:
    """The number of its latest row, 0 without one."""
    return model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS


def _words(summary: str) -> list[str]:
    return summary.replace(",", " ").replace(";", " ").split()


def _comparable(value: Any) -> Any:
    """Related rows by their keys: databases return them in any order."""
    is_related = isinstance(value, list) and any(isinstance(each, Model) for each in value)
    return sorted(str(each.pk) for each in value) if is_related else value
