"""The project's setting GATEWAY: the gateway's environment variables, as a project sets them."""

import os
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway_project.config import Config, read
from gateway_project.environment import service_secrets
from gateway_project.environment.redis_server import EMBEDDED
from gateway_project.environment.variables import ConfigurationFault
from routing.configuration.secret_files import parse_sources

NAME: Final = "GATEWAY"
OWN: Final = ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "DATABASE_URL")
"""Variables whose values are those of Django's settings."""
ELSEWHERE: Final = (
    (
        (
            "HOST",
            "PORT",
            "WORKERS",
            "DRAIN_",
            "GRACE_",
            "PROXY_PROTOCOL",
            "MAX_CONNECTIONS_",
            "INTERIM_",
            "KEEP_ALIVE_",
        ),
        "that is the server's",
    ),
    (("STAFF_", "PORTAL_", "COOKIE_PREFIX"), "that is of the gateway's own project: this one signs its users in"),
    (("GATEWAY_CONFIG", "ISSUERS"), "apply the file with `config apply`"),
    (("LOG_FORMAT",), "that is the setting LOGGING"),
    (("START_TIMEOUT", "DATA_DIR"), "the project has its database"),
)
"""Prefixes of the names of variables that have no effect in a project, and why."""
_CONDITIONAL: Final = "OTEL_"
"""Variables that are read only if others are set."""


class _Recording(dict[str, str]):
    """An environment that records which of its variables have been asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def read_project(variables: Any) -> Config:
    """The configuration, by the setting GATEWAY and by Django's settings. Raises ImproperlyConfigured with all faults.

    Of the environment only secrets of services are read.
    """
    faults = _faults(variables)
    if not faults:
        environment = _Recording({**_secrets(variables), **variables, **_own()})
        try:
            config = read(environment)
        except ConfigurationFault as error:
            faults = error.faults
        else:
            unknown = sorted(variables.keys() - environment.asked)
            faults = [f"{name}: is no variable" for name in unknown if not name.startswith(_CONDITIONAL)]
    if faults:
        raise ImproperlyConfigured("\n".join([f"Invalid setting {NAME}:", *(f"  {fault}" for fault in faults)]))
    return config


def _own() -> dict[str, str]:
    return {
        "SECRET_KEY": str(settings.SECRET_KEY),
        "DEBUG": "on" if settings.DEBUG else "off",
        "ALLOWED_HOSTS": ",".join(settings.ALLOWED_HOSTS),
        "DATABASE_URL": "sqlite://:memory:",  # the project connects to its own
    }


def _secrets(variables: dict[str, str]) -> dict[str, str]:
    try:
        named, _ = parse_sources(variables.get("SECRETS_FROM", ""))
    except ValueError:  # reported as any other fault
        named = ()
    return {name: text for name, text in os.environ.items() if name.startswith(service_secrets.PREFIX) or name in named}


def _faults(variables: Any) -> list[str]:
    if not isinstance(variables, dict):
        return ["must be a dict of the gateway's variables"]
    faults = [f"{name}: must be a text" for name, value in variables.items() if not isinstance(value, str)]
    faults += [f"{name}: set {name} of the project" for name in OWN if name in variables]
    for beginnings, why in ELSEWHERE:
        faults += [f"{name}: has no effect here: {why}" for name in variables if name.startswith(beginnings)]
    if variables.get("REDIS_URL") == EMBEDDED:
        faults.append(f"REDIS_URL: {EMBEDDED!r} is for rungateway alone")
    return faults
