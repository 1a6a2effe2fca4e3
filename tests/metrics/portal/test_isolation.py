"""A member sees nothing of another consumer, and nothing of staff's, whatever they try."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.http import urlencode

from routing.models import ApiKey, Member, PlanRequest
from tests.metrics.events import finished
from tests.metrics.harness import Harness
from tests.metrics.portal.teams import PASSWORD, Team, refresh

pytestmark = pytest.mark.django_db
PAGES = ("", "keys/", "usage/", "errors/", "plan/", "members/", "services/crm/", "password/")
STAFF_PAGES = (
    "/admin/",
    "/admin/routing/apikey/",
    "/admin/routing/member/",
    "/admin/explain/",
    "/dashboard/",
    "/dashboard/snapshot.json",
    "/dashboard/services/crm/",
    "/connect/",
    "/connect/crm/",
)


def everything(team: Team) -> str:
    keys = [f"keys/{prefix}/" for prefix in team.consumer.keys.values_list("prefix", flat=True)]
    return "".join(team.text(path) for path in (*PAGES, *keys))


def test_no_page_shows_anything_of_another_consumer(acme: Team, rival: Team) -> None:
    rival.create_key(name="rivals-own-key")
    rival.post("plan/", reason="rivals-secret-reason")
    rival.post("members/invite/", email="third@rival.example", role="member")
    subscription = rival.harness.live.keys.consumers.subscription(rival.consumer.pk)
    assert subscription is not None
    event = finished(status=404, request_id="rivals-request", path="/api/v1/crm/rivals-path")
    rival.harness.failures.failed(subscription, event)
    theirs = everything(rival)
    assert all(text in theirs for text in ("rivals-own-key", "rivals-secret-reason", "third@rival", "rivals-request"))
    ours = everything(acme)
    assert "rival" not in ours
    assert ApiKey.objects.get(name="rivals-own-key").prefix not in ours


def test_keys_of_others_do_not_exist(acme: Team, rival: Team) -> None:
    secret = rival.create_key()
    prefix, unknown = ApiKey.objects.get().prefix, "aaaaaaaa"
    requests: list[tuple[str, dict[str, str]]] = [
        ("rotate", {"grace": "0"}),
        ("revoke", {"confirm": "on"}),
        ("services", {"services": "crm"}),
    ]
    for name, data in requests:
        found = [acme.post(f"keys/{each}/{name}/", **data) for each in (prefix, unknown)]
        assert [each.status_code for each in found] == [404, 404]
        assert normalized(found[0]) == normalized(found[1])
    assert [acme.get(f"keys/{each}/").status_code for each in (prefix, unknown)] == [404, 404]
    assert rival.call(secret) == 200


def normalized(response: Any) -> str:
    """Without what differs in each response: masked CSRF tokens."""
    import re

    return re.sub(r'value="[A-Za-z0-9]{64}"', "", response.content.decode())


def test_services_outside_of_the_plan_do_not_exist(acme: Team) -> None:
    statuses = [acme.get(f"services/{name}/").status_code for name in ("crm", "payroll", "nothing", "..", "crm%00")]
    assert statuses == [200, 404, 404, 404, 404]
    assert "payroll" not in everything(acme)


def test_members_of_others_cannot_be_removed_or_invited_anew(acme: Team, rival: Team) -> None:
    rival.post("members/invite/", email="third@rival.example", role="member")
    for row in Member.objects.filter(consumer=rival.consumer):
        assert acme.post(f"members/{row.pk}/remove/").status_code == 404
        assert acme.post(f"members/{row.pk}/renew/").status_code == 404
    assert Member.objects.filter(consumer=rival.consumer).count() == 2


def test_plans_that_are_not_offered_do_not_exist(acme: Team, rival: Team) -> None:
    from routing.models import Plan

    secret = Plan.objects.create(name="for-rival-only", rate="9999/m")
    assert "for-rival-only" not in acme.text("plan/")
    assert acme.post("plan/", plan=secret.pk, reason="x").status_code == 200
    assert acme.post("plan/", plan=10_000, reason="x").status_code == 200
    assert not PlanRequest.objects.exists()
    rival.post("plan/", reason="more")
    acme.post("plan/withdraw/")
    assert PlanRequest.objects.get().state == "pending"


@pytest.mark.parametrize("path", STAFF_PAGES)
def test_pages_of_staff_are_closed(acme: Team, path: str) -> None:
    response = acme.client.get(path)
    assert response.status_code in (302, 403), response.status_code
    if response.status_code == 302:
        assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/cache", "/metrics/consumers/acme/quotas", "/api/explain"])
def test_the_operators_api_is_closed(acme: Team, path: str) -> None:
    assert acme.client.get(path).status_code in (401, 403)
    token = acme.client.cookies["csrftoken"].value
    headers = {"X-CSRFToken": token}
    response = acme.client.post("/metrics/cache/reset", {}, content_type="application/json", headers=headers)
    assert response.status_code == 403


def test_a_session_is_no_credential_for_services(acme: Team) -> None:
    for accept in ("text/html", "application/json"):
        assert acme.client.get("/api/v1/crm/contacts/1", headers={"Accept": accept}).status_code == 401


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_signing_in(acme: Team, path: str) -> None:
    response = Client().get(f"/portal/{path}")
    assert response.status_code == 302
    assert response["Location"] == f"/portal/login/?{urlencode({'next': f'/portal/{path}'})}"


@pytest.mark.parametrize("path", PAGES)
def test_staff_and_strangers_are_not_members(acme: Team, path: str) -> None:
    for user in (User.objects.create_user("stranger"), User.objects.create_superuser("root")):
        client = Client()
        client.force_login(user)
        response = client.get(f"/portal/{path}")
        assert response.status_code == 403
        assert "acme" not in response.content.decode()


def test_who_is_removed_or_disabled_is_out_at_once(acme: Team) -> None:
    acme.consumer.enabled = False
    acme.consumer.save()
    assert acme.get("keys/").status_code == 403
    acme.consumer.enabled = True
    acme.consumer.save()
    assert acme.get("keys/").status_code == 200
    acme.member.delete()
    assert acme.get("keys/").status_code in (302, 404)
    assert not User.objects.filter(pk=acme.member.user_id).exists()


def test_forms_of_other_sites_do_nothing(acme: Team) -> None:
    for path in ("keys/", "plan/", "plan/withdraw/", "members/invite/", "logout/", "password/"):
        assert acme.client.post(f"/portal/{path}", {"name": "x", "services": "crm"}).status_code == 403
    assert not ApiKey.objects.exists()


def test_signing_in_makes_a_new_session(acme: Team) -> None:
    client = Client()
    client.get("/portal/login/")
    session = client.session
    session["planted"] = 1
    session.save()
    client.cookies["sessionid"] = session.session_key or ""
    response = client.post("/portal/login/", {"username": acme.member.email.upper(), "password": PASSWORD})
    assert response["Location"] == "/portal/"
    assert client.session.session_key != session.session_key


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/portal/keys/", "/portal/keys/"),
        ("/portal/services/crm/?x=1", "/portal/services/crm/"),
        ("https://evil.example/portal/", "/portal/"),
        ("//evil.example/portal/", "/portal/"),
        ("/api/v1/crm/page", "/portal/"),
        ("/portal/../api/v1/crm/page", "/portal/"),
        ("/portal/logout/", "/portal/"),
        ("/admin/", "/portal/"),
        ("javascript:alert(1)", "/portal/"),
        ("/\\evil.example", "/portal/"),
        ("//[", "/portal/"),
        ("http://[::1/portal/keys/", "/portal/"),
        ("/portal/services/%2e%2e/", "/portal/services/%252e%252e/"),
    ],
)
def test_after_signing_in_a_page_of_the_portal_follows(acme: Team, target: str, location: str) -> None:
    client = Client()
    form = {"username": acme.member.email, "password": PASSWORD, "next": target}
    response = client.post("/portal/login/", form)
    assert response.status_code == 302
    assert response["Location"] == location


def test_a_password_alone_does_not_sign_in_staff(acme: Team) -> None:
    User.objects.create_superuser("root@acme.example", password=PASSWORD)
    client = Client()
    response = client.post("/portal/login/", {"username": "root@acme.example", "password": PASSWORD})
    assert response.status_code == 200
    assert "_auth_user_id" not in client.session


def test_guessing_passwords_is_throttled(acme: Team) -> None:
    form = {"username": acme.member.email, "password": "wrong"}
    statuses = [Client().post("/portal/login/", form).status_code for _ in range(45)]
    assert statuses[:20] == [200] * 20
    assert 429 in statuses  # within two of the counted minutes


def test_text_of_others_is_not_markup(acme: Team) -> None:
    evil = "<script>alert(1)</script>"
    acme.create_key(name=evil)
    subscription = acme.harness.live.keys.consumers.subscription(acme.consumer.pk)
    assert subscription is not None
    acme.harness.failures.failed(subscription, finished(status=500, path=f"/api/v1/crm/{evil}", request_id="r"))
    assert evil not in everything(acme)
    assert "&lt;script&gt;" in acme.text("errors/")


def test_every_page_has_a_policy_and_is_not_stored(acme: Team) -> None:
    for path in PAGES:
        response = acme.get(path)
        assert "script-src 'self';" in response["Content-Security-Policy"]
        assert "unsafe" not in response["Content-Security-Policy"]
        assert response["Cache-Control"] == "private, no-store"
        assert response["Referrer-Policy"] == "same-origin"


def test_a_form_that_is_sent_after_signing_out_says_that_nothing_was_changed(acme: Team) -> None:
    """As in the other of two tabs."""
    acme.post("logout/")
    response = acme.post("keys/", name="a key", services=["crm"])
    assert response["Location"] == f"/portal/login/?{urlencode({'next': '/portal/keys/'})}"
    assert not acme.consumer.keys.exists()
    page = acme.client.get(response["Location"]).content.decode()
    assert "You were signed out: nothing was changed." in page
    token = acme.client.cookies["csrftoken"].value
    form = {"username": acme.member.email, "password": PASSWORD, "next": "/portal/keys/", "csrfmiddlewaretoken": token}
    assert acme.client.post("/portal/login/", form)["Location"] == "/portal/keys/"
    assert "signed out" not in acme.text("keys/")


def test_head_is_answered_wherever_get_is(acme: Team, root: Client) -> None:
    """RFC 9110 section 9.1, and what checks of availability send."""
    for path in PAGES:
        assert acme.client.head(f"/portal/{path}").status_code == 200
        login = Client().head(f"/portal/{path}")
        assert (login.status_code, "next=" in login["Location"]) == (302, True)
    assert Client().head("/portal/login/?next=//[").status_code == 200
    for path in ("", "requests/", "replay/", "advice/", "services/crm/"):
        assert root.head(f"/dashboard/{path}").status_code == 200


def test_without_members_there_is_no_portal(harness: Harness) -> None:
    refresh(harness)
    for path in ("", "login/", "invitations/x/"):
        assert Client().get(f"/portal/{path}").status_code == 404
