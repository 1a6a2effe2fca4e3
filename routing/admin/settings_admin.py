"""What the admin pages of rows with settings have in common: fieldsets of their settings, and the YAML tab."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from routing.admin.guarded_form import SEEN
from routing.admin.rights import RightsMixin
from routing.admin.setting_fields.base import Label
from routing.admin.setting_fields.section import Section
from routing.admin.settings_form import field_name, switch_name
from routing.admin.stored_secrets import StoredSecrets
from routing.admin.yaml_text import MAX_TEXT, YamlText, located_line
from routing.configuration.faults import Fault
from routing.database import proposals
from routing.database.actor import commenting
from routing.database.trial import present_document, try_change
from routing.pages.messages import discard_messages

MAX_BODY: Final = 4 * MAX_TEXT
"""The longest request that checks a text, in bytes."""
MAX_COMMENT: Final = 200
DELETED: Final = _("This was deleted since the page was opened. What you have entered is still in the form.")
WAITS: Final = _("It waits until somebody else who may configure the gateway approves it.")
Fieldset = tuple[Label | None, dict[str, Any]]


class SettingsAdmin(RightsMixin):
    """For a ModelAdmin whose form is a SettingsForm."""

    form: Any
    sections: ClassVar[Mapping[str, Section]]
    plain_fieldsets: ClassVar[tuple[Fieldset, ...]]
    identity_fields: ClassVar[tuple[str, ...]]
    """The fields that those who may only view see, besides the settings as YAML."""
    is_in_history: ClassVar[bool] = True
    """Whether changes are recorded in the history, with a comment."""
    change_form_before_template = "admin/gateway/syntax_tabs.html"

    class Media:
        js = (Script("forms/settings.js", type="module"),)

    def get_urls(self) -> list[Any]:
        name, view = self.opts.model_name, self.admin_site.admin_view(self.check_text)  # type: ignore[attr-defined] # a ModelAdmin's
        return [
            path("check/", view, name=f"routing_{name}_check_new"),
            path("<int:pk>/check/", view, name=f"routing_{name}_check"),
            *super().get_urls(),  # type: ignore[misc]  # as above
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Fieldset]:
        """The page's fieldsets. Sections without settings are folded."""
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": (*self.identity_fields, "settings_text")})]
        secrets = StoredSecrets(self.form.row_settings(obj)) if obj is not None else None
        return [
            *self.plain_fieldsets,
            *(
                _fieldset(name, section, secrets is not None and secrets.masked(name) is not None)
                for name, section in self.sections.items()
            ),
            (_("YAML"), {"fields": ("yaml_text", "syntax", SEEN), "classes": ("as-yaml",)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "settings_text")  # type: ignore[misc]  # a ModelAdmin's

    def settings_text(self, row: Any) -> SafeString:
        """For those who may view: all settings as YAML, with masks in place of secrets."""
        settings = self.form.row_settings(row)
        text = YamlText(settings, StoredSecrets(settings)).shown()
        return format_html(
            '<pre class="settings-text" tabindex="0" aria-label="{}">{}</pre>',
            gettext("Settings"),
            text or gettext("none: all defaults"),
        )

    settings_text.short_description = _("settings")  # type: ignore[attr-defined]  # as Django's decorator does

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A POST with `_preview` saves nothing, and answers what saving would change.

        Without the row, Django redirects as if it had been saved, and what was entered would be lost.
        """
        parent = super().changeform_view  # type: ignore[misc]  # a ModelAdmin's
        if request.method != "POST":
            response: HttpResponse = parent(request, object_id, form_url, extra_context)
            return response
        if "_preview" in request.POST:
            if object_id is not None and self.get_object(request, unquote(object_id)) is None:  # type: ignore[attr-defined]  # a ModelAdmin's
                return JsonResponse({"error": DELETED})
            document = self.trial_document(request, object_id)
            return self._preview(request, document, lambda: parent(request, object_id, form_url, extra_context))
        with commenting(request.POST.get("_comment", "")[:MAX_COMMENT].strip()):
            saved: HttpResponse = parent(request, object_id, form_url, extra_context)
            return saved

    def trial_document(self, request: HttpRequest, object_id: str | None) -> Callable[[], dict[str, Any]]:  # noqa: ARG002 - for those who need it
        """A function that reads the part of the configuration that saving the page's row may change."""
        return present_document

    def _preview(
        self, request: HttpRequest, document: Callable[[], dict[str, Any]], save: Callable[[], HttpResponse]
    ) -> HttpResponse:
        trial = try_change(save, document)
        # Without the message that it was saved.
        discard_messages(request)
        if trial.result.status_code != HTTPStatus.FOUND:
            return JsonResponse({"invalid": True})
        waits = proposals.is_required() and trial.needs_approval()
        wording = {"save": _("Ask for approval"), "note": WAITS} if waits else {"save": _("Save")}
        return JsonResponse({**trial.diff.to_document(), **wording, "takes_comment": self.is_in_history or waits})

    def check_text(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """POST the form: the faults of its YAML with their lines or, with `show`, its fields as YAML. Saves nothing."""
        row = get_object_or_404(self.model, pk=pk) if pk is not None else None  # type: ignore[attr-defined]  # a ModelAdmin's
        if request.method != "POST" or not self.has_change_permission(request, row):
            raise PermissionDenied
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY:
            return JsonResponse({"faults": [located_line(Fault((), f"the text is longer than {MAX_TEXT} characters"))]})
        form_class = self.get_form(request, row, change=row is not None)  # type: ignore[attr-defined]  # as above
        form = form_class(request.POST, instance=row)
        form.is_guarded = False
        form.full_clean()
        if "show" in request.POST:
            is_valid = not form.errors
            return JsonResponse({"text": form.fields_as_yaml()} if is_valid else {"error": _("Mend the fields first.")})
        faults = [located_line(fault) for fault in form.yaml_faults]
        others = [str(error) for error in form.errors.get("yaml_text", ())] if not faults else []
        return JsonResponse({"faults": [*faults, *({"line": 1, "message": message} for message in others)]})


def _fieldset(name: str, section: Section, is_set: bool) -> Fieldset:
    names: Iterable[str] = [field_name(name, key.path) for key in section.keys]
    pairs = list(zip(*[iter(names)] * 2, strict=False))
    rest = list(names)[2 * len(pairs) :]
    switch = [switch_name(name)] if section.switch else []
    options: dict[str, Any] = {"fields": (*switch, *pairs, *rest), "classes": () if is_set else ("collapse",)}
    return section.title, options | ({"description": section.help_text} if section.help_text else {})
