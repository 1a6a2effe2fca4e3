"""The app: its rows are the configuration, and changing them is heard."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Configuration"

    def ready(self) -> None:
        from routing import signals  # noqa: PLC0415 - models exist only once every app is loaded

        signals.connect()
