"""A gateway whose staff sign in with a provider, and the provider."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider, serving_openid
from tests.system.server import QUICK_PASSWORDS, Server
from tests.system.sign_in.visitor import Visitor

PASSWORD = "for tests alone"
_PREPARE = f"""
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.core.management import call_command
call_command("migrate", verbosity=0)
password = make_password({PASSWORD!r})
User.objects.create(username="root", password=password, is_staff=True, is_superuser=True)
for name, group in {{"ada": "Operator", "olga": "Owner", "vera": None}}.items():
    user = User.objects.create(username=name, password=password, is_staff=group is not None)
    user.groups.set(Group.objects.filter(name=group))
"""


@dataclass
class Site:
    """A gateway and its provider, which is as it should be at the start of each test."""

    server: Server
    provider: OpenIDProvider

    def visitor(self) -> Visitor:
        return Visitor(self.server.address)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query of its database."""
        with contextlib.closing(sqlite3.connect(self.server.database, timeout=30)) as database:
            return database.execute(query, values).fetchall()

    def groups(self, username: str) -> list[str]:
        query = (
            "SELECT g.name FROM auth_group g JOIN auth_user_groups m ON m.group_id = g.id "
            "JOIN auth_user u ON u.id = m.user_id WHERE u.username = ? ORDER BY g.name"
        )
        return [name for (name,) in self.rows(query, username)]

    def is_staff(self, username: str) -> bool:
        return bool(self.rows("SELECT is_staff FROM auth_user WHERE username = ?", username)[0][0])

    def actions(self, actor: str) -> list[str]:
        """What the audit log has of an actor."""
        query = "SELECT action FROM metrics_operation WHERE actor = ? ORDER BY id"
        return [action for (action,) in self.rows(query, actor)]


def environment(provider: OpenIDProvider, **more: str) -> dict[str, str]:
    return {
        **QUICK_PASSWORDS,
        "DEBUG": "on",
        "ALLOWED_HOSTS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "STAFF_OIDC_ISSUER": provider.issuer,
        "STAFF_OIDC_CLIENT_ID": CLIENT_ID,
        "STAFF_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "STAFF_OIDC_ROLES": "owners=Owner, ops=Operator, viewers=Viewer",
        **more,
    }


def gateway(settings: dict[str, str], *arguments: str) -> Server:
    """A gateway that has not been started, with the users of _PREPARE."""
    server = Server(*arguments, environment=settings)
    server.database.write_bytes(_database())
    return server


@cache
def _database() -> bytes:
    settings = {**QUICK_PASSWORDS, "DEBUG": "on", "STAFF_SECOND_FACTOR": "optional"}
    with contextlib.closing(Server(environment=settings)) as server:
        server.manage("shell", "--no-imports", "-c", _PREPARE)
        return server.database.read_bytes()


Open = Callable[..., Site]


@pytest.fixture(scope="package")
def _running() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(serving_openid(OpenIDProvider()))
        server = stack.enter_context(gateway(environment(provider)))
        yield Site(server, provider)


@pytest.fixture
def site(_running: Site) -> Iterator[Site]:
    """The gateway that most tests share."""
    fresh = OpenIDProvider()
    kept = {"issuer": _running.provider.issuer, "gate": _running.provider.gate}
    vars(_running.provider).update(vars(fresh) | kept)
    _running.provider.sign = lambda claims: _running.provider.signed(claims, "k1")
    yield _running
    _running.provider.gate.set()


@pytest.fixture
def open_site() -> Iterator[Open]:
    """Opens a gateway with further variables."""
    with contextlib.ExitStack() as stack:

        def opened(provider: OpenIDProvider | None = None, **more: str) -> Site:
            served = stack.enter_context(serving_openid(provider or OpenIDProvider()))
            return Site(stack.enter_context(gateway(environment(served, **more))), served)

        yield opened
