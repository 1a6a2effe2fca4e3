"""The first look: demonstration services, somebody to log in as, a key, and three lines to paste."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from django.contrib.auth import get_user_model

from gateway_project.config import Config
from routing.database.api_keys import issue
from routing.database.apply import apply_document
from routing.demo.document import document, preferred_ports
from routing.demo.process import Demonstration
from routing.models import ApiKey, Service, Target

LOGIN: Final = "admin"
KEPT: Final = "demo.json"
"""What a start leaves for the next, for this machine's user alone."""


class Kept(msgspec.Struct):
    """The demonstration's key and password, to be shown again, and where its backends last were."""

    key: str | None = None
    password: str | None = None
    ports: dict[str, int] = {}


@contextlib.contextmanager
def demonstration(config: Config) -> Iterator[str]:
    """Run the demonstration's backends and see to their configuration; what comes is the greeting."""
    file, backends = config.var / KEPT, Demonstration()
    try:
        ports = backends.start()
        kept = _read(file)
        _configure(ports, kept.ports or preferred_ports())
        kept.ports = ports
        _admit(kept)
        _keep(file, kept)
        yield _greeting(config, kept)
    finally:
        backends.stop()


@contextlib.contextmanager
def nothing() -> Iterator[str]:
    """No demonstration, and no greeting."""
    yield ""


def _configure(ports: Mapping[str, int], before: Mapping[str, int]) -> None:
    """Load the services where there are none; where there are, follow the backends to where they are today.

    A target that an operator has pointed elsewhere stays.
    """
    if not Service.objects.exists():
        apply_document(document(ports))
        return
    for name, port in ports.items():
        moved = Target.objects.filter(service__name=name, url=_url(before.get(name, port))).exclude(url=_url(port))
        for target in moved:
            target.url = _url(port)
            target.save()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _admit(kept: Kept) -> None:
    """A member of staff and a key, where there are none."""
    users = get_user_model().objects
    if not users.filter(is_staff=True).exists():
        kept.password = secrets.token_urlsafe(9)
        users.create_superuser(LOGIN, password=kept.password)
    if not ApiKey.objects.filter(revoked_at=None).exists():
        kept.key = issue(ApiKey(name="demonstration", scopes=["*", "debug", "metrics:read", "metrics:write"]))


def _read(file: Path) -> Kept:
    return msgspec.json.decode(file.read_bytes(), type=Kept) if file.exists() else Kept()


def _keep(file: Path, kept: Kept) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(kept))


def _greeting(config: Config, kept: Kept) -> str:
    address = f"http://{'127.0.0.1' if config.host in ('0.0.0.0', '::') else config.host}:{config.port}"  # noqa: S104
    key = kept.key or "<your key>"
    login = f"{LOGIN} / {kept.password}" if kept.password else "a staff user of yours"
    asked = f"curl -i -H 'X-API-Key: {key}' {address}/api/v1"
    return f"""
Intelligence Gateway   {address}/
dashboard              {address}/dashboard/
staff's pages          {address}/admin/   {login}
key                    {key}

Try these: the first is a MISS, the same again a HIT; then what you may use, and what happens without a key.

  {asked}/slackIntelligence/channels
  {asked}/
  curl -i {address}/api/v1/slackIntelligence/channels

"""
