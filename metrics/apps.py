"""The app: what was counted, and who did what."""

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"
    verbose_name = "Operation"

    def ready(self) -> None:
        from metrics import openapi, recording  # noqa: F401, PLC0415 - models, and an extension known once imported

        recording.connect()
