"""The record of every operation: read, never written."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from metrics.admin.readonly import ReadOnlyAdmin
from metrics.models import Operation
from routing.configuration.document import inline


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ("when", "actor", "action", "service", "outcome", "request_id")
    list_filter = ("action", "service")
    search_fields = ("actor", "action", "service", "request_id")
    date_hierarchy = "at"
    fields = ("when", "actor", "action", "service", "was", "became", "request_id")
    readonly_fields = ("when", "was", "became")

    @admin.display(description="at", ordering="at")
    def when(self, operation: Operation) -> str:
        return f"{operation.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="outcome")
    def outcome(self, operation: Operation) -> str:
        return "" if operation.after is None else inline(operation.after)[:100]

    @admin.display(description="before")
    def was(self, operation: Operation) -> SafeString:
        return _shown(operation.before)

    @admin.display(description="after")
    def became(self, operation: Operation) -> SafeString:
        return _shown(operation.after)


def _shown(value: object) -> SafeString:
    """A line for each thing that is said."""
    if isinstance(value, dict):
        lines = [f"{key}: {inline(said)}" for key, said in value.items()]
    else:
        lines = ["none" if value is None else inline(value)]
    return format_html('<pre class="leading-relaxed text-xs whitespace-pre-wrap">{}</pre>', "\n".join(lines))
