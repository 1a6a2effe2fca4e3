"""The settings of services and routes."""

from typing import Any, ClassVar, Final

from routing.admin.setting_fields.plain import EMPTY_VALUES
from routing.admin.setting_rows.base import ANY, RowSettings
from routing.configuration.decode import VERSION, decode_route, decode_service
from routing.configuration.document import canonical
from routing.configuration.faults import ConfigurationError, Fault
from routing.models import ANY_SECRET, SETTINGS

_SECRETS: Final[dict[str, type | tuple[type, ...]]] = {"headers": dict, "credential": dict}
_SERVICE_SECRETS: Final = {**_SECRETS, "tls": dict}


class ServiceSettings(RowSettings):
    names = ("preset", "hosts", "paths", "thresholds", "slo", "tls", "status_page", "labels", "enabled", *SETTINGS)
    secret_forms = _SERVICE_SECRETS
    empty_values: ClassVar = {**EMPTY_VALUES, "preset": "", "enabled": True}
    elsewhere: ClassVar = {
        "targets": "targets have a table of their own below",
        "routes": "routes have a list of their own",
    }

    def document(self, settings: Any, owner: str) -> dict[str, Any]:
        return {"services": {owner: settings}}

    def settings_in(self, document: dict[str, Any], owner: str) -> dict[str, Any]:
        settings: dict[str, Any] = document["services"][owner]
        return settings

    def faults(self, settings: dict[str, Any]) -> list[Fault]:
        try:
            decode_service(ANY, {**settings, "targets": [{"url": "https://any"}]}, ANY_SECRET)
        except ConfigurationError as error:
            return list(error.faults)
        return []

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = canonical({"version": VERSION, "services": {ANY: settings}})["services"][ANY]
        return found


class RouteSettings(ServiceSettings):
    identity = ("service",)
    secret_forms = _SECRETS
    names = ("path", "methods", "invalidates", "idempotency", "enabled", *SETTINGS)
    empty_values: ClassVar = {**EMPTY_VALUES, "path": "", "idempotency": False, "enabled": True}

    def owner(self) -> str:
        """The service's name: masks of a route's secrets are made with it."""
        return str(self.row.service.name)

    def faults(self, settings: dict[str, Any]) -> list[Fault]:
        try:
            decode_route(settings, {}, ANY_SECRET)
        except ConfigurationError as error:
            return list(error.faults)
        return []

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().canonical({"routes": [settings]})["routes"][0]
        return found
