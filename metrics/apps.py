"""The Django app of the metrics and the audit log."""

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "metrics"
    verbose_name = "Operations"

    def ready(self) -> None:
        from metrics import audit  # noqa: PLC0415 - imports models, which are not loaded earlier

        audit.connect_signals()
