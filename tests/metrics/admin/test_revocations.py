"""The admin page of revoked tokens: who may see and change it, what it refuses, and what the audit log says."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from metrics import revocations
from metrics.models import Operation
from routing.models import Issuer, Revocation
from tests.metrics.harness import Harness
from tests.staff import member_of

pytestmark = pytest.mark.django_db
LIST = "/admin/routing/revocation/"
ADD = f"{LIST}add/"


@pytest.fixture
def operator(harness: Harness) -> Client:
    return member_of("Operator")


def test_an_operator_revokes_a_subject_and_ends_it_again(operator: Client) -> None:
    Issuer.objects.create(issuer="https://id.example.com", settings={"audience": "api"})
    data = {"subject": "auth0|eve", "token_id": "", "issuer": "https://id.example.com", "reason": "lost laptop"}
    assert operator.post(ADD, data).status_code == 302
    row = Revocation.objects.get()
    assert (row.subject, row.issuer, row.actor) == ("auth0|eve", "https://id.example.com", "staff:ada")
    assert timedelta(days=29) < row.until - timezone.now() < timedelta(days=31)
    page = operator.get(LIST).content.decode()
    assert "subject auth0|eve" in page
    assert "lost laptop" in page
    assert "subject auth0|eve" in operator.get(f"{LIST}?q=laptop").content.decode()
    operator.post(LIST, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert not Revocation.objects.exists()
    actions = Operation.objects.filter(action__startswith="token.").order_by("pk").values_list("actor", "action")
    assert list(actions) == [("staff:ada", "token.revoke"), ("staff:ada", "token.restore")]


def test_a_token_is_revoked_by_its_id_and_one_row_deleted(operator: Client) -> None:
    until = timezone.now() + timedelta(days=2)
    data = {"token_id": "t1", "until_0": f"{until:%Y-%m-%d}", "until_1": f"{until:%H:%M:%S}"}
    assert operator.post(ADD, data).status_code == 302
    row = Revocation.objects.get()
    assert (row.token_id, row.subject, row.issuer) == ("t1", "", "")
    assert abs(row.until - until) < timedelta(seconds=2)
    assert operator.get(f"{LIST}{row.pk}/change/").status_code == 200
    assert operator.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Revocation.objects.exists()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({}, "Enter either a subject or the id of a token."),
        ({"subject": "a", "token_id": "b"}, "Enter either a subject or the id of a token."),
        ({"subject": "a", "until_0": "2001-01-01", "until_1": "00:00"}, "Enter a time within the next 366 days."),
        ({"subject": "a", "until_0": "2999-01-01", "until_1": "00:00"}, "Enter a time within the next 366 days."),
        ({"subject": "a" * 300}, "at most 255 characters"),
        ({"subject": "a", "issuer": "https://id.example"}, "no issuer https://id.example is configured: those"),
        ({"subject": "jwt+id.example.com:eve"}, "its subject is eve, and its issuer https://id.example.com"),
    ],
)
def test_faults_are_shown_and_nothing_is_saved(operator: Client, data: dict[str, str], fault: str) -> None:
    Issuer.objects.create(issuer="https://id.example.com", settings={"audience": "api"})
    assert fault in operator.post(ADD, data).content.decode()
    assert not Revocation.objects.exists()


def test_no_more_than_the_bound(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.admin.revocations.MAX_REVOCATIONS", 0)
    assert "There are 0 revocations already." in operator.post(ADD, {"subject": "a"}).content.decode()


def test_viewers_see_and_do_not_change(harness: Harness) -> None:
    row = revocations.revoke("staff:a", issuer="", subject="eve", token_id="", until=None, reason="")
    viewer = member_of("Viewer", "vic")
    assert "subject eve" in viewer.get(LIST).content.decode()
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(ADD, {"subject": "bob"}).status_code == 403
    assert viewer.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Revocation.objects.count() == 1
    assert Client().get(LIST).status_code == 302


def test_ended_revocations_are_not_listed(operator: Client) -> None:
    row = revocations.revoke("staff:a", issuer="", subject="eve", token_id="", until=None, reason="")
    Revocation.objects.filter(pk=row.pk).update(until=timezone.now())
    assert "subject eve" not in operator.get(LIST).content.decode()
