"""The demonstration of `rungateway --demo`: services, a staff user, an API key, and commands to try."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import requests
from django.contrib.auth import get_user_model

from gateway_project.config import Config
from gateway_project.demo.consumer import KEY, MEMBER, create_member
from gateway_project.environment import service_secrets
from routing.authentication.api_keys import digest
from routing.database.api_keys import issue
from routing.database.apply import apply_document
from routing.demo.document import (
    CALENDAR,
    GMAIL,
    SENDERS,
    calendar_address,
    document,
    gmail_addresses,
    preferred_ports,
    webhook_address,
)
from routing.demo.process import Demonstration
from routing.models import ApiKey, Service, Target, Webhook
from routing.watches.database import expedite_all

LOGIN: Final = "admin"
STATE_FILE: Final = "demo.json"
"""State between starts, readable by its owner only."""


class DemoState(msgspec.Struct):
    """The API key and passwords, to show them again, and the ports its backends used last."""

    key: str | None = None
    password: str | None = None
    member_password: str | None = None
    ports: dict[str, int] = {}


@contextlib.contextmanager
def demonstration(config: Config) -> Iterator[str]:
    """Run the demonstration's backends and configure them. Yields the greeting."""
    config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, backends = config.var / STATE_FILE, Demonstration()
    try:
        ports = backends.start()
        state = _read(file)
        _configure(ports, state.ports or preferred_ports(), config.server.address)
        _connect_webhooks(ports, config.server.address, config.environment[service_secrets.DEMONSTRATION])
        state.ports = ports
        _forget_invalid(state)
        _create_access(state)
        _write(file, state)
        yield _greeting(config, state)
    finally:
        backends.stop()


def _configure(ports: Mapping[str, int], previous: Mapping[str, int], address: str) -> None:
    """Load the services if there are none; otherwise point their targets at the backends' current ports.

    A target whose URL an operator has changed is left alone. `address` is the gateway's.
    """
    configuration = document(ports, address)
    if not Service.objects.exists():
        apply_document(configuration)
        return
    for webhook in Webhook.objects.filter(name=GMAIL, settings__email=configuration["webhooks"][GMAIL]["email"]):
        webhook.settings |= gmail_addresses(ports, address)
        webhook.save()
    for webhook in Webhook.objects.filter(name=CALENDAR):
        watch = webhook.settings.get("watch")
        if watch and watch["address"].startswith("http://"):  # one that Google would not send to
            webhook.settings["watch"] = watch | calendar_address(address)
            webhook.save()
    expedite_all()  # the backends have forgotten their watches
    for name, port in ports.items():
        targets = Target.objects.filter(service__name=name, url=_url(previous.get(name, port))).exclude(url=_url(port))
        for target in targets:
            target.url = _url(port)
            target.save()


def _connect_webhooks(ports: Mapping[str, int], address: str, secret: str) -> None:
    """Let the backends send their webhooks to this gateway."""
    for name, backend in SENDERS.items():
        webhook = {"url": webhook_address(address, name), "secret": secret}
        requests.post(f"{_url(ports[backend])}/demo/settings", json={"webhook": webhook}, timeout=5).raise_for_status()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _forget_invalid(state: DemoState) -> None:
    """Forget what this database does not accept: it was changed or revoked, or is of another database."""
    if state.key and not ApiKey.objects.filter(digest=digest(state.key), revoked_at=None).exists():
        state.key = None
    if not _is_password(LOGIN, state.password):
        state.password = None
    if not _is_password(MEMBER, state.member_password):
        state.member_password = None


def _is_password(username: str, password: str | None) -> bool:
    user = get_user_model()._default_manager.filter(username=username).first()
    return user is not None and password is not None and user.check_password(password)


def _create_access(state: DemoState) -> None:
    """Create a staff user, an API key and a member of a consumer if there are none."""
    users = get_user_model().objects
    if not users.filter(is_staff=True).exists():
        state.password = secrets.token_urlsafe(9)
        users.create_superuser(LOGIN, password=state.password)
    if not ApiKey.objects.filter(revoked_at=None).exists():
        state.key = issue(ApiKey(name=KEY, scopes=["*", "debug", "metrics:read", "metrics:write"]))
    state.member_password = create_member() or state.member_password


def _read(file: Path) -> DemoState:
    return msgspec.json.decode(file.read_bytes(), type=DemoState) if file.exists() else DemoState()


def _write(file: Path, state: DemoState) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(state))


def _greeting(config: Config, state: DemoState) -> str:
    address = config.server.address
    key = state.key or "<your key>"
    login = f"{LOGIN} / {state.password}" if state.password else "one of your staff users"
    member = f"{MEMBER} / {state.member_password}" if state.member_password else "a member of one of your consumers"
    request = f"curl -i -H 'X-API-Key: {key}' {address}/api/v1"
    return f"""
Intelligence Gateway   {address}/
dashboard              {address}/dashboard/
admin                  {address}/admin/   {login}
portal                 {address}/portal/   {member}
API key                {key}

Try these: a MISS, then a HIT when repeated; the services you may use; and a request without a key.

  {request}/slackIntelligence/channels
  {request}/
  curl -i {address}/api/v1/slackIntelligence/channels

"""
