"""What `serve` prints once the gateway is ready: its address, a first API key, and what to do next."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

from gateway_project.config import Config
from routing.caller import EVERY_SERVICE
from routing.database.actor import acting_as, command_user
from routing.database.api_keys import issue
from routing.database.loader import readable_document
from routing.models import ApiKey

NAME: Final = "first"
MAX_NAMES: Final = 10


def greeting(config: Config) -> str:
    """Creates an API key if there is none."""
    services = readable_document()["services"]
    key = _first_key()
    address, manage = config.server.address, f"{_python()} {shlex.quote(sys.argv[0])}"
    shown = key or "$KEY"
    file = config.gateway_config
    change = f"{manage} config apply {shlex.quote(str(file))}" if file else f"{manage} config apply my.yaml"
    return f"""
Intelligence Gateway   {address}/
services               {_names(list(services))}
API key                {_key_line(key, manage)}
state                  {config.var}

Try it:

  curl -i -H "X-API-Key: {shown}" {address}/api/v1{_example(services)}

Next, in another terminal with the same environment:

  {manage} doctor               # checks all that the gateway depends on, and says what to do
  {manage} createsuperuser      # a login for {address}/admin/ and the dashboard
  {manage} apikey create NAME --scope SERVICE
  {change}   # after an edit of the file; live within a second

Ctrl-C stops the gateway. The same command starts it again with the same keys.

"""


def _first_key() -> str | None:
    """A new key for every service; None if there is a key already."""
    if ApiKey.objects.filter(revoked_at=None).exists():
        return None
    with acting_as(command_user()):
        return issue(ApiKey(name=NAME, scopes=[EVERY_SERVICE]))


def _key_line(key: str | None, manage: str) -> str:
    if key is not None:
        return f"{key}   (for every service; shown this once)"
    prefixes = ApiKey.objects.filter(revoked_at=None).order_by("created_at").values_list("prefix", flat=True)
    return f"one that you have; `{manage} apikey list` shows {len(prefixes)}, `apikey rotate {prefixes[0]}` renews one"


def _names(services: list[str]) -> str:
    if not services:
        return "none yet: make serve CONFIG=my.yaml, or add one in the admin"
    more = len(services) - MAX_NAMES
    return ", ".join(services[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _example(services: dict[str, dict[str, object]]) -> str:
    """The path of the first route that GET may use and that has no parameter; the list of services if there is none."""
    for name, service in services.items():
        routes = service.get("routes")
        for route in routes if isinstance(routes, list) else ():
            path, methods = str(route.get("path", "")), route.get("methods") or ["GET"]
            if "GET" in methods and not {"{", "*"}.intersection(path):
                return shlex.quote(f"/{name}{path}")
        if not routes:
            return f"/{name}/"
    return "/"


def _python() -> str:
    """The interpreter as one types it here: on Debian there is no `python`."""
    executable = Path(sys.executable)
    if executable.is_relative_to(Path.cwd()):
        executable = executable.relative_to(Path.cwd())
    return shlex.quote(os.fspath(executable))
