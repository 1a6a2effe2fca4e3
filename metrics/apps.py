"""The app: what was counted, and who did what."""

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"
    verbose_name = "Operation"

    def ready(self) -> None:
        from metrics import audit  # noqa: PLC0415 - models, and an extension known once imported

        audit.connect()
