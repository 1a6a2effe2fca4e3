"""Installs the gateway's runtime in each process that sets up Django."""

from django.apps import AppConfig
from django.conf import settings

from gateway_project.parts.countries import configure_countries
from routing import runtime


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    verbose_name = "Intelligence Gateway"

    def ready(self) -> None:
        from gateway_project.parts.announcements import announce_changes  # noqa: PLC0415 - imports models

        configure_countries(settings.CONFIG)
        runtime.install(runtime.Runtime(_open))
        announce_changes()


async def _open() -> runtime.Components:
    from gateway_project.container import open_application  # noqa: PLC0415 - most management commands need no gateway

    return await open_application()
