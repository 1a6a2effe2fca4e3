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
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import record_operation, staff_actor
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.three_way import Conflict
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.bounds import bounded
from routing.database.document_diff import document_diff
from routing.database.trial import try_change
from routing.database.undo import undo
from routing.errors import Forbidden
from routing.models import ConfigurationRevision
from routing.pages.rendering import render
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, is_any, may, require, services, within


class AnnotationForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = ConfigurationRevision
        fields = ("label", "comment")
        widgets: ClassVar[Any] = {"label": UnfoldAdminTextInputWidget, "comment": UnfoldAdminTextInputWidget}


@admin.register(ConfigurationRevision, site=admin_site())
class ConfigurationRevisionAdmin(ServiceReadOnlyAdmin):
    """Staff with rights for some services see changes that are about one of these alone, and may undo them."""

    service_path = "service"
    list_display = ("number", "created_at", "actor", "summary", "label", "comment", "links")
    list_display_links = ("number", "summary")
    list_filter = ("actor",)
    search_fields = ("id", "actor", "summary", "label", "comment", "document")
    search_help_text = _("Number, person, label, comment or setting")
    date_hierarchy = "created_at"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of secrets in the address, which would tell a viewer whether a guess is right, and those of
        documents to viewers of some services.
        """
        hidden = ("secrets",) if request is not None and may(request.user, Right.VIEW) else ("secrets", "document")
        return not lookup.startswith(hidden) and bool(super().lookup_allowed(lookup, value, request))

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Documents are not searched for staff with rights for some services: they contain all services."""
        names = super().get_search_fields(request)
        return names if may(request.user, Right.VIEW) else [name for name in names if name != "document"]

    def get_list_filter(self, request: HttpRequest) -> Any:
        return super().get_list_filter(request) if may(request.user, Right.VIEW) else ()

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
        may_undo = is_any(services(request.user, Right.CONFIGURE))
        return names if may_undo else [name for name in names if name != "links"]

    @admin.display(description=_("revision"), ordering="pk")
    def number(self, revision: ConfigurationRevision) -> int:
        return int(revision.pk)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Rows know whether they may be undone, and rolled back to."""
        changelist = super().get_changelist_instance(request)
        names = services(request.user, Right.CONFIGURE)
        for row in changelist.result_list:
            row.may_undo, row.may_roll_back = within(row.service, names), names is None
        return changelist

    @admin.display(description="")
    def links(self, revision: Any) -> SafeString | str:
        undo, rollback = (admin_url(name, revision.pk) for name in ("undo_revision", "roll_back"))
        if not revision.may_roll_back:
            link = format_html('<a class="underline" href="{}">{}</a>', undo, gettext("Undo…"))
            return link if revision.may_undo else ""
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
        revision = self.row_or_404(request, object_id, Right.VIEW)
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
        revision, actor = self.row_or_404(request, pk, Right.CONFIGURE), staff_actor(request.user)
        names = services(request.user, Right.CONFIGURE)
        try:
            if request.method != "POST":
                trial = try_change(lambda: bounded(lambda: undo(revision), names))
                documents = dump(trial.before), dump(trial.after)
                title = gettext("Changes made by undoing revision %(number)d") % {"number": pk}
                return self._page(request, revision, title, documents, confirm="undo")
            with acting_as(actor, f"undid revision {pk}"):
                changes = bounded(lambda: undo(revision), names)
        except Forbidden as error:
            text = gettext("Not undone: %(reason)s.") % {"reason": error.detail}
            self.message_user(request, text, messages.ERROR)
        except Conflict as conflict:
            pointers = ", ".join(conflict.pointers)
            text = gettext("Not undone: changed again since, at %(pointers)s.") % {"pointers": pointers}
            self.message_user(request, text, messages.ERROR)
        except ConfigurationError as error:
            text = gettext("Not undone, the result would not be valid: %(error)s") % {"error": error}
            self.message_user(request, text, messages.ERROR)
        else:
            changed = [*changes.created, *changes.updated, *changes.deleted]
            record_operation(actor, "configuration.undo", after={"revision": pk, "services": changed})
            done = gettext("Revision %(number)d is undone.") % {"number": pk}
            self.message_user(request, done if changed else gettext("Nothing was left to undo."))
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
        names = services(request.user, Right.VIEW)
        before, after = (revisions.part_of_services(text, names) for text in documents)
        diff = document_diff(*(parse(text).structure for text in (before, after)))
        context["may_configure"] = may(request.user, Right.CONFIGURE)
        context["may_undo"] = may(request.user, Right.CONFIGURE, revision.service)
        shown = {"changes": readable(diff), "lines": list(revisions.diff_lines(before, after))}
        return render(request, "admin/gateway/revision.html", {**context, **shown, **more})
