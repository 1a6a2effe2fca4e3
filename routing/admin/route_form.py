"""The form of a route: validated together with its service's settings and the service's other routes."""

from typing import Any

from routing.admin.service_settings_form import ServiceSettingsForm
from routing.admin.setting_fields import plain
from routing.admin.setting_fields.sections import SHARED_SECTIONS
from routing.admin.setting_rows.services import RouteSettings
from routing.admin.settings_form import with_settings
from routing.configuration.decode import decode_service
from routing.configuration.faults import ConfigurationError, Fault
from routing.models import ANY_SECRET, Service
from routing.models.faults import to_validation_error


@with_settings({**plain.SHARED, **plain.ROUTE}, SHARED_SECTIONS)
class RouteForm(ServiceSettingsForm):
    """Adds the faults that a route has beside the others of its service, such as a duplicate."""

    row_settings = RouteSettings

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors or self.instance.service_id is None:
            return
        route, service = self.instance, self.instance.service
        others = [row.to_document() for row in service.routes.all() if row.pk != route.pk]
        faults = route_faults(service, [*others, route.to_document()])
        found = [fault.without_prefix(2) for fault in faults if fault.path[:2] == ("routes", len(others))]
        if found:
            self._update_errors(to_validation_error(found, self.fields))


def route_faults(service: Service, routes: list[dict[str, Any]]) -> list[Fault]:
    """The faults of these routes of the service, with paths relative to it."""
    document = {**service.to_document(), "targets": [{"url": "https://any"}], "routes": routes}
    found = list(service.fallback_faults(document)) if _has_fallback(document) else []
    try:
        decode_service("any", document, ANY_SECRET)
    except ConfigurationError as error:
        found += error.faults
    return [fault for fault in found if fault.path[:1] == ("routes",)]


def _has_fallback(document: dict[str, Any]) -> bool:
    return any(item.get("fallback") for item in (document, *document["routes"]))
