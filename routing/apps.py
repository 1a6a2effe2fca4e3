"""The Django app that holds the configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from routing.pages.names import name_models


class RoutingConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "routing"
    verbose_name = _("Configuration")

    def ready(self) -> None:
        from routing import signals  # noqa: PLC0415 - models cannot be imported before all apps are loaded

        signals.connect()
        name_models(self.get_models())
