"""Installs the gateway's runtime in each process that sets up Django."""

from django.apps import AppConfig

from routing import runtime


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    verbose_name = "Intelligence Gateway"

    def ready(self) -> None:
        runtime.install(runtime.Runtime(_open))


async def _open() -> runtime.Components:
    from gateway_project.container import open_application  # noqa: PLC0415 - most management commands need no gateway

    return await open_application()
