"""Consumers with members, and a gateway whose live configuration is what the database says."""

import re
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from routing.authentication.api_keys import ApiKeys
from routing.consumers.table import ConsumerTable
from routing.database.loader import load
from routing.models import Consumer, Member, Plan
from tests.metrics.harness import Harness

PASSWORD = "correct horse battery"


def refresh(harness: Harness) -> None:
    """Load keys and consumers, as a worker does after a change."""
    loaded = load(lambda _: None)
    harness.live.keys = ApiKeys(loaded.keys, ConsumerTable(loaded.consumers))
    harness.live.table.has_members = Member.objects.exists()


@dataclass
class Team:
    """A consumer with a member, and that member's browser."""

    consumer: Any
    member: Any
    client: Client
    harness: Harness

    def get(self, path: str = "", **headers: Any) -> Any:
        return self.client.get(f"/portal/{path}", **headers)

    def text(self, path: str = "") -> str:
        response = self.get(path)
        assert response.status_code == 200, response.status_code
        return str(response.content.decode())

    def post(self, path: str, **data: Any) -> Any:
        """With the CSRF token of the browser's cookie."""
        token = self.client.cookies["csrftoken"].value
        response = self.client.post(f"/portal/{path}", {"csrfmiddlewaretoken": token, **data})
        refresh(self.harness)
        return response

    def create_key(self, *services: str, **data: Any) -> str:
        """The secret, as the page shows it."""
        response = self.post("keys/", **{"name": "a key", "services": services or ["crm"], **data})
        return secret_of(response)

    def call(self, key: str, path: str = "crm/contacts/1", method: str = "get") -> int:
        response = getattr(Client(), method)(f"/api/v1/{path}", headers={"X-API-Key": key})
        _ = b"".join(response.streaming_content) if response.streaming else response.content
        return int(response.status_code)


def secret_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    found = re.search(r'<code id="secret">(gw_[A-Za-z0-9_]+)</code>', response.content.decode())
    assert found, response.content.decode()
    return found[1]


def make_team(harness: Harness, name: str, role: str = "member", plan: str | None = "free") -> Team:
    email = f"dev@{name}.example"
    user = User.objects.create_user(email, email, PASSWORD)
    consumer = Consumer.objects.create(name=name, plan=Plan.objects.get(name=plan) if plan else None)
    member = Member.objects.create(consumer=consumer, email=email, role=role, user=user)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    refresh(harness)
    team = Team(consumer, member, client, harness)
    team.get()  # has the CSRF cookie
    team.get("keys/")
    return team
