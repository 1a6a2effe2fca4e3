"""The form of a service, whose routes inherit what it sets."""

from django.core.exceptions import ValidationError

from routing.admin.route_form import route_faults
from routing.admin.service_settings_form import ServiceSettingsForm
from routing.admin.setting_fields import plain
from routing.admin.setting_fields.sections import SERVICE_SECTIONS, SHARED_SECTIONS
from routing.admin.setting_rows.services import ServiceSettings
from routing.admin.settings_form import with_settings


@with_settings({**plain.SERVICE, **plain.SHARED}, {**SERVICE_SECTIONS, **SHARED_SECTIONS})
class ServiceForm(ServiceSettingsForm):
    """Adds the faults that the service's routes would have with its new settings."""

    row_settings = ServiceSettings
    guarded = ("targets",)

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors or self.instance.pk is None:
            return
        routes = list(self.instance.routes.all())
        faults = route_faults(self.instance, [route.to_document() for route in routes])
        messages = [f"route {routes[int(fault.path[1])]}: {fault.without_prefix(2)}" for fault in faults]
        if messages:
            self.add_error(None, ValidationError(messages))
