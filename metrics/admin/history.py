"""The configuration history: who changed what and when, with differences by line and rollback."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from metrics.admin.readonly import ReadOnlyAdmin
from metrics.audit import record_operation, staff_actor
from routing.configuration.faults import ConfigurationError
from routing.database import revisions
from routing.models import ConfigurationRevision
from routing.pages.rendering import render
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, may, require


@admin.register(ConfigurationRevision, site=admin_site())
class ConfigurationRevisionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "summary", "rollback_link")
    list_display_links = ("created_at", "summary")
    list_filter = ("actor",)
    search_fields = ("actor", "summary", "document")
    date_hierarchy = "created_at"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of secrets in the address, which would tell a viewer whether a guess is right."""
        return not lookup.startswith("secrets") and bool(super().lookup_allowed(lookup, value, request))

    def get_urls(self) -> list[Any]:
        rollback = path("<int:pk>/rollback/", self.admin_site.admin_view(self.roll_back), name="roll_back")
        return [rollback, *super().get_urls()]

    @admin.display(description="")
    def rollback_link(self, revision: ConfigurationRevision) -> SafeString:
        url = admin_url("roll_back", revision.pk)
        return format_html('<a class="underline" href="{}">Roll back…</a>', url)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        revision = get_object_or_404(ConfigurationRevision, pk=object_id)
        lines = revisions.diff_lines(revisions.previous_document(revision), revision.document)
        return self._page(request, revision, "Changes in this revision", list(lines))

    def roll_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what a rollback would change; POST performs it."""
        require(request.user, Right.CONFIGURE)
        revision = get_object_or_404(ConfigurationRevision, pk=pk)
        if request.method != "POST":
            lines = revisions.diff_lines(revisions.current_document(), revision.document)
            return self._page(request, revision, "Changes made by a rollback", list(lines), confirm=True)
        try:
            done = revisions.rollback(revision, staff_actor(request.user))
        except ConfigurationError as error:
            self.message_user(request, f"Rollback failed, the revision is no longer valid: {error}", messages.ERROR)
        else:
            record_operation(staff_actor(request.user), "configuration.rollback", before=done.before, after=done.after)
            self.message_user(request, f"Rolled back to revision {revision.pk}.")
        return redirect(admin_url("routing_configurationrevision_changelist"))

    def _page(
        self, request: HttpRequest, revision: ConfigurationRevision, title: str, lines: list[str], **more: Any
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "lines": lines}
        context["may_configure"] = may(request.user, Right.CONFIGURE)
        return render(request, "admin/gateway/revision.html", {**context, "revision": revision, **more})
