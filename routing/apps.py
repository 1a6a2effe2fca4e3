"""The Django app that holds the configuration."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "routing"
    verbose_name = "Configuration"

    def ready(self) -> None:
        from routing import signals  # noqa: PLC0415 - models cannot be imported before all apps are loaded

        signals.connect()
