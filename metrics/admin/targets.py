"""The list of targets with the condition of each: see metrics/targets/."""

from typing import Any, Final

from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from metrics import selectors
from routing.admin.targets import TargetAdmin
from routing.balancing.rules import TargetCondition
from routing.models import Target
from routing.pages.names import with_name
from routing.pages.site import admin_site

LABELS: Final = {
    TargetCondition.UP: "success",
    TargetCondition.SLOW_START: "warning",
    TargetCondition.EJECTED: "danger",
    TargetCondition.DOWN: "danger",
    TargetCondition.DISABLED: "info",
}
UNKNOWN: Final = ""
"""The condition of a target that is not yet in the configuration in use."""


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

    @display(description=_("condition"), label=LABELS)
    def condition(self, target: Any) -> tuple[str, str]:
        if target.status is None:
            return UNKNOWN, UNKNOWN
        condition, text = with_name(target.status.condition)
        if target.status.workers:
            text = gettext("%(condition)s in %(workers)s workers") % {
                "condition": text,
                "workers": target.status.workers,
            }
        return condition, capfirst(text)


admin_site().unregister(Target)
admin_site().register(Target, ObservedTargetAdmin)
