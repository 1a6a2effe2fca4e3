"""The app that a project installs to include the gateway, beside `metrics` and `routing`."""

from typing import Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, get_script_prefix, resolve, reverse

from gateway_project.parts.countries import configure_countries
from routing import runtime

NEEDED: Final = tuple(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages", "sessions"))


class IncludedConfig(AppConfig):
    name = "gateway_project.included"
    label = "gateway"
    verbose_name = "Intelligence Gateway"

    def import_models(self) -> None:
        """The first of the gateway's apps to be imported, once all are known. Raises ImproperlyConfigured."""
        missing = [name for name in NEEDED if not apps.is_installed(name)]
        if missing:
            raise ImproperlyConfigured(
                f"the gateway needs {', '.join(missing)} in INSTALLED_APPS, with or without URLs"
            )
        super().import_models()

    def ready(self) -> None:
        from gateway_project.included.settings import configure  # noqa: PLC0415 - imports models of other apps
        from gateway_project.parts.announcements import announce_changes  # noqa: PLC0415 - as above

        configure()
        configure_countries(settings.CONFIG)
        runtime.install(runtime.Runtime(_open))
        announce_changes()
        checks.register(check_urls, "urls")
        checks.register(check_prefix, "urls")


async def _open() -> runtime.Components:
    from gateway_project.container import open_application  # noqa: PLC0415 - most management commands need no gateway

    return await open_application()


def check_urls(**_: object) -> list[checks.CheckMessage]:
    """The pages link to each other by the names of their URLs."""
    try:
        view = resolve("/" + reverse("dashboard:overview").removeprefix(get_script_prefix())).func
    except NoReverseMatch:
        hint = 'urlpatterns = [..., path("gateway/", include("gateway_project.included.urls"))]'
        return [checks.Warning("the gateway's pages are not included", hint=hint, id="gateway.W001")]
    if view.__module__ == "metrics.dashboard.views":
        return []
    hint = "give the project's own another namespace"
    return [checks.Error("the URL namespace 'dashboard' is not the gateway's", hint=hint, id="gateway.E001")]


def check_prefix(**_: object) -> list[checks.CheckMessage]:
    """The gateway's requests are told apart before Django removes a prefix."""
    if not settings.FORCE_SCRIPT_NAME:
        return []
    hint = "let the proxy ahead pass /api/v1/, /events, /hooks/ and /ws/ on too"
    return [checks.Warning("services are at /api/v1/, not below FORCE_SCRIPT_NAME", hint=hint, id="gateway.W002")]
