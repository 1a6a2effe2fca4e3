"""Clients of members of staff."""

from typing import Any

from django.test import Client


def member_of(group: str, name: str = "ada", **options: Any) -> Client:
    """A client with a session of a new member of staff in this group. `options` are those of Client."""
    from django.contrib.auth.models import Group, User

    client, user = Client(**options), User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return client
