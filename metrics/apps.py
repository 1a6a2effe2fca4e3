"""The app: what was counted, and who did what."""

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"
    verbose_name = "Metrics"

    def ready(self) -> None:
        from metrics import openapi  # noqa: F401, PLC0415 - drf-spectacular knows an extension once it is imported
