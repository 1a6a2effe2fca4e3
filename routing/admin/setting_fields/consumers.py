"""The fields of the settings of plans, teams and consumers."""

from collections.abc import Callable, Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import SettingField, Whole
from routing.admin.setting_fields.items import Access, Quotas
from routing.admin.setting_fields.measures import Rate
from routing.admin.setting_fields.sections import SHARED_SECTIONS

Plain = Mapping[str, Callable[[], SettingField]]

LIMITS: Final[Plain] = {
    "rate": lambda: Rate(label=_("Rate")),
    "burst": lambda: Whole(label=_("Burst"), unit=_("requests"), help_text=_("of the rate that may come at once")),
    "concurrency": lambda: Whole(label=_("At once"), unit=_("requests"), help_text=_("in flight, over all workers")),
    "quota": lambda: Quotas(label=_("Quotas")),
}
PLAN: Final[Plain] = {
    "services": lambda: Access(
        label=_("Services"), help_text=_("that the plan includes; none: any"), empty=_("no service")
    ),
}
PLAN_SECTIONS: Final = {name: SHARED_SECTIONS[name] for name in ("ip", "price")}
