"""The list of targets with the condition of each: see metrics/targets/."""

from typing import Any, Final

from django.http import HttpRequest
from unfold.decorators import display

from metrics import selectors
from metrics.targets.status import words
from routing.admin.targets import TargetAdmin
from routing.balancing.rules import Condition
from routing.models import Target
from routing.pages.site import admin_site

LABELS: Final = {
    Condition.UP: "success",
    Condition.SLOW_START: "warning",
    Condition.EJECTED: "danger",
    Condition.DOWN: "danger",
    Condition.DISABLED: "info",
}
UNKNOWN: Final = ""
"""Of a target that the configuration in use does not have yet."""


class ObservedTargetAdmin(TargetAdmin):
    list_display = ("url", "service", "weight", "canary", "condition", "override")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Adds each target's condition to its row."""
        changelist = super().get_changelist_instance(request)
        conditions, services = selectors.target_conditions(), selectors.configured_services()
        statuses = {name: {each.url: each for each in conditions.of(service)} for name, service in services.items()}
        for row in changelist.result_list:
            row.status = statuses.get(row.service.name, {}).get(row.url)
        return changelist

    @display(description="condition", label=LABELS)
    def condition(self, target: Any) -> tuple[str, str]:
        if target.status is None:
            return UNKNOWN, UNKNOWN
        return target.status.condition, words(target.status)[0]


admin_site().unregister(Target)
admin_site().register(Target, ObservedTargetAdmin)
