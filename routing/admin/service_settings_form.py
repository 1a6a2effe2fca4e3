"""The form of a service or a route, whose author may be limited to some services."""

from typing import Any, ClassVar

from routing.admin.settings_form import SettingsForm
from routing.configuration import fallbacks
from routing.configuration.faults import Fault
from routing.rights import Names


class ServiceSettingsForm(SettingsForm):
    writable: ClassVar[Names] = None
    """The services that the author may change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fallbacks = self._named_fallbacks()

    def is_refused(self) -> bool:
        """Refuse the form before the model's errors reveal which services exist, and what they fall back to."""
        added = self._named_fallbacks() - self._fallbacks
        others = [] if self.writable is None else sorted(added - self.writable)
        if others:
            self._report([Fault(("fallback",), f"you may not let it fall back to {', '.join(others)}")])
        return bool(others)

    def _named_fallbacks(self) -> frozenset[str]:
        return fallbacks.named({"fallback": self.instance.fallback})
