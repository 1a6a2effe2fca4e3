"""Invitations: by staff in the admin and by managers, and joining with a link."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from metrics.models import Operation
from routing.database import members
from routing.models import Consumer, Member
from tests.metrics.harness import Harness
from tests.metrics.portal.teams import PASSWORD, Team, refresh
from tests.staff import member_of

pytestmark = pytest.mark.django_db
LINK = re.compile(r"(/portal/invitations/[A-Za-z0-9_-]{43}/)")
NEW = {"new_password1": PASSWORD, "new_password2": PASSWORD}


def link_in(response: Any) -> str:
    found = LINK.search(response.content.decode())
    assert found, response.content.decode()
    return found[1]


@pytest.fixture
def owner(world: Harness) -> Client:
    return member_of("Owner")


def test_staff_invite_with_a_link_that_sets_the_password(owner: Client, world: Harness) -> None:
    consumer = Consumer.objects.create(name="acme")
    form = {"consumer": consumer.pk, "email": "Dev@Acme.example", "role": "manager"}
    response = owner.post("/admin/routing/member/add/", form, follow=True)
    assert response.status_code == 200
    link = link_in(response)
    refresh(world)
    assert link not in owner.get("/admin/routing/member/").content.decode()
    person = Client()
    assert "Join acme" in person.get(link).content.decode()
    assert "Join acme" in person.get(link).content.decode()  # to look at it does not use it up
    joined = person.post(link, NEW)
    assert joined["Location"] == "/portal/"
    assert person.get("/portal/members/").status_code == 200
    user = User.objects.get(username="dev@acme.example")
    assert (user.is_staff, user.is_superuser, user.check_password(PASSWORD)) == (False, False, True)
    assert person.get(link).status_code == 404
    assert Client().post(link, NEW).status_code == 404
    actions = list(Operation.objects.order_by("pk").values_list("actor", "action"))
    assert ("staff:ada", "member.created") in actions
    assert ("member:dev@acme.example", "member.changed") in actions
    assert link.split("/")[3] not in str(Operation.objects.values())


def test_without_the_right_to_configure_nobody_is_invited(staff_client: Client, world: Harness) -> None:
    assert staff_client.get("/admin/routing/member/add/").status_code == 403
    assert staff_client.get("/admin/routing/member/").status_code == 200


def test_a_weak_password_is_refused_and_the_link_stays(acme: Team) -> None:
    link = link_in(acme.post("members/invite/", email="new@acme.example", role="member"))
    for password in ("short", "12345678", "new@acme.example"):
        response = Client().post(link, {"new_password1": password, "new_password2": password})
        assert response.status_code == 200
    assert Client().post(link, {"new_password1": PASSWORD, "new_password2": "another"}).status_code == 200
    assert not User.objects.filter(username="new@acme.example").exists()
    assert Client().post(link, NEW).status_code == 302


def test_an_expired_invitation_can_only_be_renewed(acme: Team) -> None:
    link = link_in(acme.post("members/invite/", email="new@acme.example", role="member"))
    row = Member.objects.get(email="new@acme.example")
    Member.objects.filter(pk=row.pk).update(link_ends=timezone.now() - timedelta(seconds=1))
    assert Client().get(link).status_code == 404
    assert Client().post(link, NEW).status_code == 404
    assert "expired" in acme.text("members/")
    again = link_in(acme.post(f"members/{row.pk}/renew/"))
    assert Client().get(link).status_code == 404
    assert Client().post(again, NEW).status_code == 302


def test_an_existing_account_is_not_taken_over(acme: Team) -> None:
    """The link of an invitation sets no password of an account that was there before."""
    root = User.objects.create_superuser("root@acme.example", password=PASSWORD)
    link = link_in(acme.post("members/invite/", email="Root@acme.example", role="member"))
    response = Client().post(link, {"new_password1": "another password", "new_password2": "another password"})
    assert "Sign in with it" in response.content.decode()
    root.refresh_from_db()
    assert root.check_password(PASSWORD)
    assert Member.objects.get(email="root@acme.example").user is None


def test_a_signed_in_account_joins_with_one_press(acme: Team) -> None:
    user, client = User.objects.create_user("from the provider"), Client()
    client.force_login(user)
    link = link_in(acme.post("members/invite/", email="new@acme.example", role="member"))
    assert "Join as from the provider" in client.get(link).content.decode()
    assert client.post(link, {"join": "1"}).status_code == 302
    assert client.get("/portal/keys/").status_code == 200
    assert not User.objects.filter(username="new@acme.example").exists()


def test_a_member_of_one_consumer_does_not_join_another(acme: Team, rival: Team) -> None:
    link = link_in(acme.post("members/invite/", email=rival.member.email, role="manager"))
    assert "Join as" not in rival.client.get(link).content.decode()
    rival.post(link.removeprefix("/portal/"), join="1")
    assert rival.member.consumer == Member.objects.get(user=rival.member.user).consumer
    with pytest.raises(members.NotPossible, match="already"):
        members.use_link(link.split("/")[3], user=rival.member.user)


def test_members_do_not_invite_and_managers_do(world: Harness) -> None:
    from tests.metrics.portal.teams import make_team

    member, manager = make_team(world, "acme", "member"), make_team(world, "beta", "manager")
    assert "Create a link" not in member.text("members/")
    assert member.post("members/invite/", email="x@acme.example", role="manager").status_code == 403
    assert member.post(f"members/{member.member.pk}/remove/").status_code == 403
    link = link_in(manager.post("members/invite/", email="x@beta.example", role="member"))
    assert Client().post(link, NEW).status_code == 302
    joined = Member.objects.get(email="x@beta.example")
    assert (joined.consumer, joined.role) == (manager.consumer, "member")


def test_a_manager_removes_others_but_neither_themselves_nor_passwords(acme: Team) -> None:
    link = link_in(acme.post("members/invite/", email="x@acme.example", role="member"))
    other = Client()
    other.post(link, NEW)
    row = Member.objects.get(email="x@acme.example")
    assert "New link for x@acme.example" not in acme.text("members/")
    assert LINK.search(acme.post(f"members/{row.pk}/renew/").content.decode()) is None
    acme.post(f"members/{acme.member.pk}/remove/")
    acme.post(f"members/{row.pk}/remove/")
    assert list(Member.objects.values_list("pk", flat=True)) == [acme.member.pk]
    assert other.get("/portal/").status_code == 302
    assert not User.objects.filter(username="x@acme.example").exists()
    again = link_in(acme.post("members/invite/", email="x@acme.example", role="member"))
    assert Client().post(again, NEW).status_code == 302


def test_staff_reset_a_password_with_a_link(acme: Team, owner: Client) -> None:
    data = {"action": "create_links", "_selected_action": [acme.member.pk]}
    link = link_in(owner.post("/admin/routing/member/", data, follow=True))
    fresh = {"new_password1": "an entirely new one", "new_password2": "an entirely new one"}
    assert Client().post(link, fresh).status_code == 302
    assert acme.get("keys/").status_code == 302  # sessions with the former password have ended
    assert Client().post(link, NEW).status_code == 404


def test_no_link_sets_a_password_of_staff(acme: Team) -> None:
    user = acme.member.user
    user.is_staff = True
    user.save()
    secret = members.new_link(acme.member)
    response = Client().post(f"/portal/invitations/{secret}/", NEW)
    assert "not set here" in response.content.decode()


def test_the_same_person_is_invited_once(acme: Team) -> None:
    acme.post("members/invite/", email="x@acme.example", role="member")
    assert "invited already" in acme.post("members/invite/", email="X@ACME.example", role="member").content.decode()


def test_a_changed_password_ends_other_sessions(acme: Team) -> None:
    other = Client()
    other.post("/portal/login/", {"username": acme.member.email, "password": PASSWORD})
    assert other.get("/portal/").status_code == 200
    acme.get("password/")
    fresh = {"old_password": PASSWORD, "new_password1": "an entirely new one", "new_password2": "an entirely new one"}
    assert acme.post("password/", **fresh).status_code == 302
    assert [acme.get().status_code, other.get("/portal/").status_code] == [200, 302]


def test_accounts_of_a_deleted_consumer_are_deleted(acme: Team) -> None:
    acme.consumer.delete()
    assert not User.objects.filter(pk=acme.member.user_id).exists()
