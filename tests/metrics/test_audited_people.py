"""The audit log has who may do what: accounts, groups, identities, signing keys and connected accounts."""

from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.http import HttpRequest
from django.test import Client

from metrics.admin.recorded import RecordedMixin
from metrics.admin.service_roles import ServiceRoleAdmin
from metrics.audit import AUDITED_MODELS
from metrics.models import Operation
from routing.database.actor import acting_as, command_user
from routing.database.apply import apply_document
from routing.models import Consumer, Revocation, ServiceRole, SigningKey
from tests.routing.pages import browser_form

pytestmark = pytest.mark.django_db

USER = "/admin/auth/user/{}/change/"


def entries() -> list[Any]:
    """With `before` and `after`, which may be anything."""
    return list(Operation.objects.order_by("pk"))


def apply_consumer(*identities: dict[str, str]) -> None:
    apply_document({"version": 1, "consumers": {"acme": {"identities": list(identities)}}}, delete=())


def only() -> Any:
    [entry] = entries()
    return entry


def submit(client: Client, url: str, **fields: Any) -> None:
    shown = {name: value for name, value in browser_form(client.get(url), "user_form").items() if value}
    response = client.post(url, shown | fields)
    assert response.status_code == 302, response.content.decode()


def test_every_model_that_can_be_edited_in_the_admin_is_audited() -> None:
    request = HttpRequest()
    request.user = User.objects.create_superuser("root")
    unrecorded = {Revocation}  # whose operations metrics.revocations records
    for model, page in admin.site._registry.items():
        may = (
            page.has_add_permission(request),
            page.has_change_permission(request),
            page.has_delete_permission(request),
        )
        if not any(may) or isinstance(page, RecordedMixin | ServiceRoleAdmin):
            continue
        models = {model, *(inline.model for inline in page.inlines)}
        assert models <= {*AUDITED_MODELS, *unrecorded}, model


def test_a_role_that_is_given_in_the_admin_is_recorded(root: Client) -> None:
    bob, owner = User.objects.create_user("bob"), Group.objects.get(name="Owner")
    submit(root, USER.format(bob.pk), is_staff="on", groups=[owner.pk])
    entry = only()
    assert (entry.actor, entry.action) == ("staff:root", "account.changed")
    assert (entry.before["user"], entry.before["is_staff"], entry.before["groups"]) == ("bob", False, [])
    assert (entry.after["user"], entry.after["is_staff"], entry.after["groups"]) == ("bob", True, ["Owner"])
    submit(root, USER.format(bob.pk))  # nothing is changed
    assert len(entries()) == 1


def test_an_account_is_recorded_from_its_creation_to_its_deletion_without_its_password(root: Client) -> None:
    secret = "correct horse battery"
    made = {"username": "bob", "usable_password": "true", "password1": secret, "password2": secret}
    assert root.post("/admin/auth/user/add/", made).status_code == 302
    bob = User.objects.get(username="bob")
    ServiceRole.objects.create(user=bob, role="Viewer", services=["crm"])
    changed = {"usable_password": "true", "password1": secret[::-1], "password2": secret[::-1]}
    assert root.post(f"/admin/auth/user/{bob.pk}/password/", changed).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    assert root.post("/admin/auth/user/", chosen).status_code == 302
    created, password, deleted = entries()
    assert [each.action for each in entries()] == ["account.created", "account.changed", "account.deleted"]
    assert created.after["user"] == "bob"
    assert password.after["password"] == "changed"
    assert deleted.before["service_roles"] == [{"holder": "bob", "role": "Viewer", "services": ["crm"], "labels": {}}]
    text = str([(each.before, each.after) for each in entries()])
    assert secret not in text
    assert secret[::-1] not in text
    assert "pbkdf2" not in text


def test_a_group_is_recorded_with_its_permissions(root: Client) -> None:
    group = Group.objects.create(name="on call")
    view = Group.objects.get(name="Viewer").permissions.get(codename="view_gateway")
    page = f"/admin/auth/group/{group.pk}/change/"
    assert root.post(page, {"name": "on call", "permissions": [view.pk]}).status_code == 302
    assert root.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}).status_code == 302
    changed, deleted = entries()
    assert (changed.action, changed.before, changed.after["permissions"]) == (
        "group.changed",
        {"name": "on call"},
        ["routing.view_gateway"],
    )
    assert (deleted.action, deleted.before["name"], deleted.after) == ("group.deleted", "on call", None)


def test_signing_keys_are_recorded_without_their_secrets() -> None:
    Consumer.objects.create(name="acme")
    create = ("signingkey", "create", "acme-1", "--consumer", "acme", "--algorithm", "hmac-sha256")
    out = StringIO()
    call_command(*create, stdout=out)
    secret = out.getvalue().splitlines()[-1]
    stored = SigningKey.objects.get().secret
    call_command("signingkey", "revoke", "acme-1", stdout=out)
    _, created, revoked = entries()
    assert (created.actor, created.action) == (command_user(), "signing_key.created")
    assert (created.after["keyid"], created.after["consumer"], created.after["secret"]) == ("acme-1", "acme", "***")
    assert revoked.action == "signing_key.changed"
    assert "valid_until" in revoked.after
    text = str([(each.before, each.after) for each in entries()])
    assert secret not in text
    assert stored not in text


def test_identities_of_consumers_are_recorded() -> None:
    identity = {"issuer": "https://id.example", "subject": "ada"}
    with acting_as("staff:bob"):
        apply_consumer(identity)
        Operation.objects.all().delete()
        apply_consumer(identity | {"subject": "eve"})
    deleted, created = entries()
    assert {each.actor for each in entries()} == {"staff:bob"}
    assert (deleted.action, deleted.before) == ("identity.deleted", {"consumer": "acme", **identity})
    assert (created.action, created.after["subject"]) == ("identity.created", "eve")


def test_a_consumer_is_deleted_with_its_keys_and_identities_on_record() -> None:
    apply_consumer({"issuer": "https://id.example", "tenant": "t1"})
    call_command("signingkey", "create", "k", "--consumer", "acme", "--algorithm", "hmac-sha256", stdout=StringIO())
    Operation.objects.all().delete()
    Consumer.objects.get().delete()
    assert {each.action for each in entries()} == {"consumer.deleted", "identity.deleted", "signing_key.deleted"}
