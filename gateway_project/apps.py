from django.apps import AppConfig

from routing import runtime


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    verbose_name = "Intelligence Gateway"

    def ready(self) -> None:
        """A gateway for this process, which opens when it is first needed."""
        runtime.install(runtime.Runtime(_open_parts))


async def _open_parts() -> runtime.Components:
    from gateway_project.container import open_parts  # noqa: PLC0415 - most of Django's commands open no gateway

    return await open_parts()
