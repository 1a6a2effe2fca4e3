"""The configuration history: who changed what and when, with what differs, undo, rollback, labels and comments."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from metrics.admin.differences import readable
from metrics.admin.readonly import ReadOnlyAdmin
from metrics.audit import record_operation, staff_actor
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.three_way import Conflict
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.document_diff import document_diff
from routing.database.trial import try_change
from routing.database.undo import undo
from routing.models import ConfigurationRevision
from routing.pages.rendering import render
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, may, require


class AnnotationForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = ConfigurationRevision
        fields = ("label", "comment")
        widgets: ClassVar[Any] = {"label": UnfoldAdminTextInputWidget, "comment": UnfoldAdminTextInputWidget}


@admin.register(ConfigurationRevision, site=admin_site())
class ConfigurationRevisionAdmin(ReadOnlyAdmin):
    list_display = ("number", "created_at", "actor", "summary", "label", "comment", "links")
    list_display_links = ("number", "summary")
    list_filter = ("actor",)
    search_fields = ("id", "actor", "summary", "label", "comment", "document")
    search_help_text = _("Number, person, label, comment or setting")
    date_hierarchy = "created_at"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of secrets in the address, which would tell a viewer whether a guess is right."""
        return not lookup.startswith("secrets") and bool(super().lookup_allowed(lookup, value, request))

    def get_urls(self) -> list[Any]:
        views = {"rollback": self.roll_back, "undo": self.undo, "annotate": self.annotate}
        names = {"rollback": "roll_back", "undo": "undo_revision", "annotate": "annotate_revision"}
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=names[name])
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> Any:
        """Links to what one may do."""
        names = super().get_list_display(request)
        return names if may(request.user, Right.CONFIGURE) else [name for name in names if name != "links"]

    @admin.display(description=_("revision"), ordering="pk")
    def number(self, revision: ConfigurationRevision) -> int:
        return int(revision.pk)

    @admin.display(description="")
    def links(self, revision: ConfigurationRevision) -> SafeString:
        undo, rollback = (admin_url(name, revision.pk) for name in ("undo_revision", "roll_back"))
        return format_html(
            '<a class="underline" href="{}">{}</a> <a class="underline ml-2" href="{}">{}</a>',
            undo,
            gettext("Undo…"),
            rollback,
            gettext("Roll back…"),
        )

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        revision = get_object_or_404(ConfigurationRevision, pk=object_id)
        may_annotate = may(request.user, Right.CONFIGURE)
        return self._page(
            request,
            revision,
            gettext("Changes in this revision"),
            (revisions.previous_document(revision), revision.document),
            annotation=AnnotationForm(instance=revision) if may_annotate else None,
        )

    def annotate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST `label` and `comment`. The rest of a revision never changes."""
        require(request.user, Right.CONFIGURE)
        revision = get_object_or_404(ConfigurationRevision, pk=pk)
        form = AnnotationForm(request.POST, instance=revision)
        if request.method == "POST" and form.is_valid():
            form.save()
            annotation = {"revision": pk, "label": revision.label, "comment": revision.comment}
            record_operation(staff_actor(request.user), "configuration.annotate", after=annotation)
            self.message_user(request, gettext("Saved."))
        elif request.method == "POST":
            self.message_user(request, gettext("A label may have 64 characters, a comment 500."), messages.ERROR)
        return redirect(admin_url("routing_configurationrevision_change", pk))

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what taking this one change back would do; POST does it. Later changes stay."""
        require(request.user, Right.CONFIGURE)
        revision, actor = get_object_or_404(ConfigurationRevision, pk=pk), staff_actor(request.user)
        try:
            if request.method != "POST":
                trial = try_change(lambda: undo(revision))
                documents = dump(trial.before), dump(trial.after)
                title = gettext("Changes made by undoing revision %(number)d") % {"number": pk}
                return self._page(request, revision, title, documents, confirm="undo")
            with acting_as(actor, f"undid revision {pk}"):
                changes = undo(revision)
        except Conflict as conflict:
            pointers = ", ".join(conflict.pointers)
            text = gettext("Not undone: changed again since, at %(pointers)s.") % {"pointers": pointers}
            self.message_user(request, text, messages.ERROR)
        except ConfigurationError as error:
            text = gettext("Not undone, the result would not be valid: %(error)s") % {"error": error}
            self.message_user(request, text, messages.ERROR)
        else:
            names = [*changes.created, *changes.updated, *changes.deleted]
            record_operation(actor, "configuration.undo", after={"revision": pk, "services": names})
            done = gettext("Revision %(number)d is undone.") % {"number": pk}
            self.message_user(request, done if names else gettext("Nothing was left to undo."))
        return redirect(admin_url("routing_configurationrevision_changelist"))

    def roll_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what a rollback would change; POST performs it."""
        require(request.user, Right.CONFIGURE)
        revision = get_object_or_404(ConfigurationRevision, pk=pk)
        if request.method != "POST":
            documents = revisions.current_document(), revision.document
            title = gettext("Changes made by rolling back to revision %(number)d") % {"number": pk}
            return self._page(request, revision, title, documents, confirm="rollback")
        try:
            done = revisions.rollback(revision, staff_actor(request.user))
        except ConfigurationError as error:
            text = gettext("Rollback failed, the revision is no longer valid: %(error)s") % {"error": error}
            self.message_user(request, text, messages.ERROR)
        else:
            record_operation(staff_actor(request.user), "configuration.rollback", before=done.before, after=done.after)
            self.message_user(request, gettext("Rolled back to revision %(number)d.") % {"number": pk})
        return redirect(admin_url("routing_configurationrevision_changelist"))

    def _page(
        self, request: HttpRequest, revision: ConfigurationRevision, title: str, documents: tuple[str, str], **more: Any
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "revision": revision}
        before, after = documents
        diff = document_diff(*(parse(text).structure for text in documents))
        context["may_configure"] = may(request.user, Right.CONFIGURE)
        shown = {"changes": readable(diff), "lines": list(revisions.diff_lines(before, after))}
        return render(request, "admin/gateway/revision.html", {**context, **shown, **more})
