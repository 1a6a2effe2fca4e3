"""The Django app of the metrics and the audit log."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from routing.pages.names import name_models


class MetricsConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "metrics"
    verbose_name = _("Operations")

    def ready(self) -> None:
        from metrics import audit  # noqa: PLC0415 - imports models, which are not loaded earlier

        audit.connect_signals()
        name_models(self.get_models())
