"""The admin's page for a service's OpenAPI document: shows what an import would change, and imports."""

from typing import Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldBooleanWidget

from routing.configuration.faults import ConfigurationError
from routing.database.openapi import ImportOptions, import_document
from routing.database.openapi_report import lines
from routing.models import Service, ServiceDocument
from routing.openapi.document import MAX_BYTES, read
from routing.pages.rendering import render
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, is_any, needed, services

MAX_YAML_BYTES: Final = 1_000_000
"""YAML takes a second of processor time for 50 kB."""


class DocumentForm(forms.Form):
    file = forms.FileField(
        label=_("OpenAPI document"),
        help_text=_("OpenAPI 3.0 or 3.1, in JSON or YAML"),
        widget=UnfoldAdminFileFieldWidget({"accept": ".json,.yaml,.yml"}),
    )
    routes = forms.BooleanField(
        label=_("Make routes of its operations"),
        required=False,
        initial=True,
        widget=UnfoldBooleanWidget,
        help_text=_("Scopes, timeouts, caching and all other settings of routes stay as they are."),
    )
    prune = forms.BooleanField(
        label=_("Remove routes with settings that it no longer has"), required=False, widget=UnfoldBooleanWidget
    )
    restore = forms.BooleanField(
        label=_("Add routes again that were removed by hand"), required=False, widget=UnfoldBooleanWidget
    )

    def clean_file(self) -> bytes:
        content: bytes = self.cleaned_data["file"].read(MAX_BYTES + 1)
        if len(content) > MAX_YAML_BYTES and not content.lstrip().startswith(b"{"):
            raise forms.ValidationError(
                _("YAML may have 1 MB, JSON more: convert it, or use the command config import.")
            )
        return content

    def import_lines(self, service: Service, *, dry_run: bool) -> list[str] | None:
        """Import the document and return the report; None, with an error at the file, if it has faults."""
        data = self.cleaned_data
        options = ImportOptions(data["routes"], prune=data["prune"], restore=data["restore"], dry_run=dry_run)
        try:
            return list(lines(import_document(service.name, read(data["file"]), options), options))
        except ConfigurationError as error:
            self.add_error("file", [str(fault) for fault in error.faults[:20]])
        return None


def document_page(request: HttpRequest, pk: int) -> HttpResponse:
    """`/admin/routing/service/<pk>/openapi/`. Raises PermissionDenied."""
    names = services(request.user, Right.CONFIGURE)
    if not is_any(names):
        raise PermissionDenied(needed(Right.CONFIGURE))
    service = get_object_or_404(
        Service.objects.all() if names is None else Service.objects.filter(name__in=names), pk=pk
    )
    form = DocumentForm(request.POST or None, request.FILES or None)
    report = None
    if request.method == "POST" and form.is_valid():
        report = form.import_lines(service, dry_run="import" not in request.POST)
        if report is not None and "import" in request.POST:
            for line in report:
                messages.info(request, line)
            return redirect(admin_url("routing_service_change", service.pk))
    context = {
        **admin_site().each_context(request),
        "title": gettext("OpenAPI document of %(service)s") % {"service": service.name},
        "form": form,
        "report": report,
        "document": ServiceDocument.objects.defer("document", "routes").filter(service=service).first(),
        "address": reverse("api-config-service-openapi", kwargs={"service": service.name}),
        "service": service,
    }
    return render(request, "admin/gateway/service_document.html", context)
