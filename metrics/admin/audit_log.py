"""The audit log."""

from typing import Final

from django.contrib import admin
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import shortened
from metrics.models import Operation
from routing.configuration.document import inline
from routing.pages.site import admin_site

MAX_RESULT_LENGTH: Final = 100
"""The most characters that the list shows of an operation's result."""


@admin.register(Operation, site=admin_site())
class OperationAdmin(ServiceReadOnlyAdmin):
    service_path = "service"
    list_display = ("time", "actor", "action", "service", "result", "request_id")
    list_filter = ("at", "action", "service")  # a date hierarchy would read all rows for its years
    search_fields = ("actor", "action", "service", "request_id")
    fields = ("time", "actor", "action", "service", "before_lines", "after_lines", "request_id")
    readonly_fields = ("time", "before_lines", "after_lines")

    @admin.display(description=_("time"), ordering="at")
    def time(self, operation: Operation) -> str:
        return date_format(operation.at, "DATETIME_FORMAT")

    @admin.display(description=_("result"))
    def result(self, operation: Operation) -> str:
        return shortened(operation.after, MAX_RESULT_LENGTH)

    @admin.display(description=_("before"))
    def before_lines(self, operation: Operation) -> SafeString:
        return _lines(operation.before)

    @admin.display(description=_("after"))
    def after_lines(self, operation: Operation) -> SafeString:
        return _lines(operation.after)


def _lines(value: object) -> SafeString:
    """The value as text, with one line per key."""
    if isinstance(value, dict):
        lines = [f"{key}: {inline(item)}" for key, item in value.items()]
    else:
        lines = [gettext("none") if value is None else inline(value)]
    return format_html('<pre class="leading-relaxed text-xs whitespace-pre-wrap">{}</pre>', "\n".join(lines))
