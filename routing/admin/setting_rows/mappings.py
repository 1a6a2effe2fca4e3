"""The settings of webhooks, issuers and alerts: a mapping in one column, and whether the row is enabled in another."""

from collections.abc import Mapping
from typing import Any, ClassVar

from routing.admin.setting_rows.base import ANY, RowSettings
from routing.configuration.alerts import alert_parsers, decode_alert
from routing.configuration.decode import VERSION
from routing.configuration.document import canonical
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.issuers import decode_issuer, issuer_parsers
from routing.configuration.webhooks import decode_webhook, webhook_parsers
from routing.models import ANY_SECRET

_ANY_ISSUER = "https://any.example"


class MappingSettings(RowSettings):
    prefix = ("settings",)

    def stored(self, name: str) -> Any:
        return self._mapping().get(name)

    def store(self, name: str, value: Any) -> None:
        settings = self._mapping()
        if value is None:
            settings.pop(name, None)
        else:
            settings[name] = value
        self.row.settings = settings

    def replace(self, settings: Mapping[str, Any]) -> None:
        """Null is kept: it replaces what a preset sets."""
        enabled = settings.get("enabled")
        self.row.enabled = True if enabled is None else enabled
        self.row.settings = {name: value for name, value in settings.items() if name != "enabled"}

    def settings(self) -> dict[str, Any]:
        return {**self._mapping(), "enabled": self.row.enabled}

    def faults(self, settings: dict[str, Any]) -> list[Fault]:
        try:
            self.check(settings)
        except ConfigurationError as error:
            return list(error.faults)
        return []

    def check(self, settings: dict[str, Any]) -> None:
        """Raises ConfigurationError, with paths relative to the settings."""
        raise NotImplementedError

    def _mapping(self) -> dict[str, Any]:
        found = self.row.settings
        return dict(found) if isinstance(found, dict) else {}


class WebhookSettings(MappingSettings):
    names = tuple(webhook_parsers(ANY_SECRET))
    secret_forms: ClassVar = {"secret": (str, list)}

    def document(self, settings: Any, owner: str) -> dict[str, Any]:
        return {"webhooks": {owner: settings}}

    def settings_in(self, document: dict[str, Any], owner: str) -> dict[str, Any]:
        settings: dict[str, Any] = document["webhooks"][owner]
        return settings

    def check(self, settings: dict[str, Any]) -> None:
        decode_webhook(ANY, settings, ANY_SECRET)

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = canonical({"version": VERSION, "webhooks": {ANY: settings}})["webhooks"][ANY]
        return found


class IssuerSettings(MappingSettings):
    identity = ("issuer",)
    names = tuple(name for name in issuer_parsers(ANY_SECRET) if name != "issuer")
    secret_forms: ClassVar = {"introspection": dict}
    elsewhere: ClassVar = {"issuer": "the issuer has a field of its own"}

    def owner(self) -> str:
        return str(self.row.issuer)

    def document(self, settings: Any, owner: str) -> dict[str, Any]:
        return {"issuers": [{**settings, "issuer": owner}]}

    def settings_in(self, document: dict[str, Any], owner: str) -> dict[str, Any]:  # noqa: ARG002 - there is one issuer
        return {name: value for name, value in document["issuers"][0].items() if name != "issuer"}

    def check(self, settings: dict[str, Any]) -> None:
        decode_issuer({**settings, "issuer": _ANY_ISSUER}, ANY_SECRET)

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        document = {"version": VERSION, "issuers": [{**settings, "issuer": _ANY_ISSUER}]}
        return self.settings_in(canonical(document), "")


class AlertSettings(MappingSettings):
    """Its secrets are references, of which nothing has to be masked."""

    names = tuple(name for name in alert_parsers(ANY_SECRET) if name != "name")
    elsewhere: ClassVar = {"name": "the name has a field of its own"}

    def check(self, settings: dict[str, Any]) -> None:
        decode_alert({**settings, "name": ANY}, ANY_SECRET)

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        (found,) = canonical({"version": VERSION, "alerts": [{**settings, "name": ANY}]})["alerts"]
        return {name: value for name, value in found.items() if name != "name"}
