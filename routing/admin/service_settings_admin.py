"""What the admin pages of services and routes have in common, also for staff who may change some services."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from routing.admin.rights import ServiceRightsMixin
from routing.admin.setting_fields.suggestions import suggesting
from routing.admin.settings_admin import SettingsAdmin
from routing.database.bounds import bounded
from routing.errors import Forbidden
from routing.rights import Right, services


class ServiceSettingsAdmin(ServiceRightsMixin, SettingsAdmin):
    """For a ModelAdmin whose form is a ServiceSettingsForm."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Refuse changes outside the services that the user may change."""
        names, view = services(request.user, Right.CONFIGURE), super().changeform_view
        if names is None:
            return view(request, object_id, form_url, extra_context)
        bounds = names if request.method == "POST" else None
        try:
            with suggesting(services(request.user, Right.VIEW)):
                done = bounded(lambda: view(request, object_id, form_url, extra_context), bounds)
                return done.render() if isinstance(done, TemplateResponse) else done
        except Forbidden as error:
            raise PermissionDenied(gettext("Not saved: %(reason)s.") % {"reason": error.detail}) from None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)  # type: ignore[misc]  # a ModelAdmin's
        form.writable = services(request.user, Right.CONFIGURE)
        return form
