"""Forms that notice when somebody else has changed what they show before they are saved."""

import json
from typing import Any, ClassVar, Final

from django import forms
from django.forms import ModelForm
from django.forms.models import model_to_dict
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from routing.models import ConfigurationRevision

SEEN: Final = "seen"
"""The field with a digest of the values that the form was made from."""
_SALT: Final = "routing.admin.guarded_form"
_DIGEST_LENGTH: Final = 32
_MAX_REVISIONS: Final = 50
_MAX_DIGITS: Final = 16
_EDITED_ELSEWHERE: Final = frozenset({"position"})
"""A route is moved on the list of routes."""


class GuardedForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form that was made from values that are no longer stored is shown again, with an error. If it is then saved
    once more, it replaces them. A program may post it without the field: nothing is compared then.
    """

    guarded: ClassVar[tuple[str, ...]] = ()
    """Related rows that are edited on the same page."""
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_guarded = self.instance.pk is not None and SEEN in self.fields
        if self.is_guarded:
            self.initial[SEEN] = f"{self._digest()}.{_latest_revision()}"

    def owner(self) -> str:
        """The name by which the history may know the row."""
        return str(self.instance)

    def _post_clean(self) -> None:
        if self.is_guarded:
            self._compare()
        super()._post_clean()  # type: ignore[misc]  # Django's, which has no types

    def _compare(self) -> None:
        digest, _dot, revision = str(self.data.get(self.add_prefix(SEEN), "")).partition(".")
        if not digest or digest == self.initial[SEEN].partition(".")[0]:
            return
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict
        data[self.add_prefix(SEEN)] = self.initial[SEEN]
        self.data = data
        is_number = revision.isascii() and revision.isdigit() and len(revision) < _MAX_DIGITS
        actors = _actors(self.owner(), int(revision)) if is_number else []
        text = _(
            "%(name)s was changed by somebody else since this page was opened%(actors)s. The form shows your entries: "
            "saving it again also undoes that change. To begin with what is stored now, load the page again."
        )
        self.add_error(None, text % {"name": self.instance, "actors": f" ({', '.join(actors)})" if actors else ""})

    def _digest(self) -> str:
        """The digest of the stored rows. Keyed, since they may have secrets."""
        rows = [self.instance, *(row for name in self.guarded for row in getattr(self.instance, name).all())]
        values = [model_to_dict(row, exclude=_EDITED_ELSEWHERE) for row in rows]
        text = json.dumps(values, sort_keys=True, default=str)
        return salted_hmac(_SALT, text, algorithm="sha256").hexdigest()[:_DIGEST_LENGTH]


def _latest_revision() -> int:
    return ConfigurationRevision.objects.values_list("pk", flat=True).first() or 0


def _actors(name: str, revision: int) -> list[str]:
    """Who has changed anything of this name since a revision, as far as the history has it."""
    rows = ConfigurationRevision.objects.filter(pk__gt=revision).values_list("actor", "summary")[:_MAX_REVISIONS]
    return sorted({actor for actor, summary in rows if name in summary.replace(",", " ").replace(";", " ").split()})
