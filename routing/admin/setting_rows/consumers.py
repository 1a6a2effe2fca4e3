"""The settings of plans, teams and consumers."""

from typing import Any, ClassVar, Final

from django.db import models

from routing.admin.setting_rows.base import ANY, RowSettings
from routing.configuration.consumers import PARSERS, canonical_item, check_item, timestamp, unknown_names
from routing.configuration.faults import ConfigurationError, Fault
from routing.models import Plan, Team

_REFERENCES: Final[dict[str, type[models.Model]]] = {"plan": Plan, "team": Team}


class ConsumerSettings(RowSettings):
    section: ClassVar[str] = "consumers"
    names = tuple(name for name in PARSERS["consumers"] if name != "identities")
    empty_values: ClassVar = {"rate": "", "enabled": True}
    elsewhere: ClassVar = {"identities": "identities have a table of their own below"}

    def store(self, name: str, value: Any) -> None:
        if value is not None and name in _REFERENCES:
            value = _REFERENCES[name]._default_manager.filter(name=value).first()
        elif value is not None and name == "signed_up":
            value = timestamp(value)
        super().store(name, value)

    def faults(self, settings: dict[str, Any]) -> list[Fault]:
        try:
            check_item(self.section, ANY, settings)
        except ConfigurationError as error:
            return list(error.faults)
        return [fault.without_prefix(2) for fault in self._unknown({self.section: {ANY: settings}})]

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        return canonical_item(self.section, settings)

    def _unknown(self, sections: dict[str, Any]) -> list[Fault]:
        """A fault for each plan or team that is named and does not exist."""
        (settings,) = sections[self.section].values()
        known = {
            f"{name}s": list(model._default_manager.filter(name=settings[name]).values_list("name", flat=True))
            for name, model in _REFERENCES.items()
            if isinstance(settings.get(name), str)
        }
        return unknown_names(sections, known)


class TeamSettings(ConsumerSettings):
    section = "teams"
    names = tuple(PARSERS["teams"])
    empty_values: ClassVar = {"rate": ""}
    elsewhere: ClassVar = {}


class PlanSettings(ConsumerSettings):
    section = "plans"
    names = tuple(PARSERS["plans"])
    empty_values: ClassVar = {"rate": "", "offered": False}
    elsewhere: ClassVar = {}
