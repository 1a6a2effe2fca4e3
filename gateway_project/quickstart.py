"""The first look: demonstration services, somebody to log in as, a key, and three lines to paste."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.contrib.auth import get_user_model

from gateway_project.config import Config
from routing.authentication.issuing import issue
from routing.configuration.applying import apply_document
from routing.demo.document import document
from routing.demo.process import Demonstration
from routing.models import ApiKey, Service, Target

LOGIN: Final = "admin"
CREDENTIALS: Final = "demo.json"
"""The demonstration's key and password, for this machine's user alone, so that every start can show them again."""


@contextlib.contextmanager
def demonstration(config: Config) -> Iterator[str]:
    """Run the demonstration's backends and see to their configuration; what comes is the greeting."""
    backends = Demonstration()
    try:
        ports = backends.start()
        _configure(ports)
        yield _greeting(config, _credentials(config.var / CREDENTIALS))
    finally:
        backends.stop()


@contextlib.contextmanager
def nothing() -> Iterator[str]:
    """No demonstration, and no greeting."""
    yield ""


def _configure(ports: dict[str, int]) -> None:
    """Load the services where there are none; where there are, only follow their backends to today's ports."""
    if not Service.objects.exists():
        apply_document(document(ports))
        return
    for name, port in ports.items():
        url = f"http://127.0.0.1:{port}"
        for target in Target.objects.filter(service__name=name, url__startswith="http://127.0.0.1:").exclude(url=url):
            target.url = url
            target.save()


def _credentials(path: Path) -> dict[str, str]:
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    users = get_user_model().objects
    if not users.filter(is_staff=True).exists():
        known["password"] = secrets.token_urlsafe(9)
        users.create_superuser(LOGIN, password=known["password"])
    if not ApiKey.objects.filter(revoked_at=None).exists():
        known["key"] = issue(ApiKey(name="demonstration", scopes=["*", "debug", "metrics:read", "metrics:write"]))
    _keep(path, known)
    return known


def _keep(path: Path, known: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(known, file)


def _greeting(config: Config, known: dict[str, str]) -> str:
    address = f"http://{'127.0.0.1' if config.host in ('0.0.0.0', '::') else config.host}:{config.port}"  # noqa: S104
    key = known.get("key", "<your key>")
    login = f"{LOGIN} / {known['password']}" if "password" in known else "a staff user of yours"
    asked = f"curl -i -H 'X-API-Key: {key}' {address}/api/v1"
    return f"""
Intelligence Gateway   {address}/
staff's pages          {address}/admin/   {login}
key                    {key}

Try these: the first is a MISS, the same again a HIT; then what you may use, and what happens without a key.

  {asked}/slackIntelligence/channels
  {asked}/
  curl -i {address}/api/v1/slackIntelligence/channels

"""
