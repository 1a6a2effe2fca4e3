"""What the gateway adds to a project's settings. It changes none of them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from channels import DEFAULT_CHANNEL_LAYER
from channels.layers import channel_layers, get_channel_layer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.template import engines
from django.utils.module_loading import import_string

from gateway_project.config import Config
from gateway_project.django_settings import admin_theme
from gateway_project.django_settings import redis as redis_settings
from gateway_project.environment.installation import TEMPLATES
from gateway_project.included import variables
from routing.pages.rendering import ENGINE
from routing.pages.site import NAME, THEME

CONFIG: Final = "CONFIG"
"""The setting with the values that the gateway runs with."""


def configure() -> None:
    """Add CONFIG, the admin's theme, a template engine, and a channel layer if there is none.

    Raises ImproperlyConfigured.
    """
    if not settings.USE_TZ:
        raise ImproperlyConfigured("USE_TZ is False: the gateway stores times with their zone, set USE_TZ = True")
    if hasattr(settings, CONFIG):
        raise ImproperlyConfigured(f"the setting {CONFIG} is the gateway's: give the project's own another name")
    config = variables.read_project(getattr(settings, variables.NAME, {}))
    setattr(settings, CONFIG, config)
    setattr(settings, THEME, admin_theme.included(NAME))
    engines.templates[ENGINE] = _engine()
    if get_channel_layer() is None:
        channel_layers.set(DEFAULT_CHANNEL_LAYER, _channel_layer(config))


def _engine() -> dict[str, Any]:
    """An entry of TEMPLATES. The gateway's templates and those of its admin's theme come before the project's."""
    unfold = find_spec("unfold")
    theme = unfold.submodule_search_locations if unfold else None
    processors = (
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    )
    return {
        "NAME": ENGINE,
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TEMPLATES, *(Path(directory) / "templates" for directory in theme or ())],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [*processors]},
    }


def _channel_layer(config: Config) -> Any:
    layer = redis_settings.channel_layers(config.redis_server, config.redis_prefix)[DEFAULT_CHANNEL_LAYER]
    return import_string(layer["BACKEND"])(**layer.get("CONFIG", {}))
