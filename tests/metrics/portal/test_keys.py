"""Members create, use, rotate, change and revoke keys, within what their consumer may do."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.formats import date_format

from metrics.models import Operation
from routing.database.api_keys import issue
from routing.database.plan_requests import approve, request_plan
from routing.models import ApiKey, Plan
from tests.metrics.harness import Harness
from tests.metrics.portal.teams import Team, make_team, refresh, secret_of

pytestmark = pytest.mark.django_db


def staff_key(team: Team, **fields: Any) -> tuple[ApiKey, str]:
    key = ApiKey(name="of staff", consumer=team.consumer, **fields)
    secret = issue(key)
    refresh(team.harness)
    return key, secret


def test_a_new_key_is_good_for_a_first_call(acme: Team) -> None:
    key = acme.create_key()
    assert acme.call(key) == 200
    assert acme.call(key, "mail/contacts/1") == 403
    row = ApiKey.objects.get(name="a key")
    assert (row.consumer, row.scopes, row.owner) == (acme.consumer, ["crm"], acme.member.email)
    assert row.created_by == f"member:{acme.member.email}"
    assert Operation.objects.get(action="key.created").actor == f"member:{acme.member.email}"


def test_the_secret_is_in_one_response_only(acme: Team) -> None:
    key = acme.create_key()
    assert key not in acme.text("keys/") + acme.text() + acme.text(f"keys/{ApiKey.objects.get().prefix}/")
    assert key not in str(dict(acme.client.session)) + acme.client.cookies.output()
    assert key not in str(Operation.objects.values())


def test_reloading_the_page_of_a_new_key_creates_no_other(acme: Team) -> None:
    assert secret_of(acme.post("keys/", name="one", services="crm", form_id="form"))
    again = acme.post("keys/", name="one", services="crm", form_id="form")
    assert (again.status_code, again["Location"]) == (302, "/portal/keys/")
    assert ApiKey.objects.count() == 1
    assert "not shown again" in acme.text("keys/")


@pytest.mark.parametrize("services", [["payroll"], ["crm", "mail"], ["*"], ["metrics:write"], ["debug"], []])
def test_a_key_has_nothing_beyond_the_plan(acme: Team, services: list[str]) -> None:
    response = acme.post("keys/", name="greedy", services=services)
    assert response.status_code == 200
    assert "Select a valid choice" in response.content.decode() or "Choose at least one" in response.content.decode()
    assert not ApiKey.objects.exists()


def test_without_services_in_the_plan_members_have_what_staff_granted(world: Harness) -> None:
    """A plan without a list leaves it to the credentials, and those are staff's to decide."""
    Plan.objects.create(name="open", rate="100/m")
    team = make_team(world, "acme", plan="open")
    assert "No services yet" in team.text()
    staff_key(team, scopes=["payroll"], methods=["GET"])
    assert "No services yet" in team.text()
    staff_key(team, scopes=["mail", "metrics:read", "debug"])
    assert acme_services(team) == ["mail"]
    assert team.call(team.create_key("mail"), "mail/contacts/1") == 200
    assert ApiKey.objects.get(name="a key").scopes == ["mail"]


def acme_services(team: Team) -> list[str]:
    response = team.get("keys/")
    return list(response.context["services"])


def test_members_keys_grant_nothing_further(world: Harness) -> None:
    Plan.objects.create(name="open", rate="100/m")
    team = make_team(world, "acme", plan="open")
    key, _ = staff_key(team, scopes=["mail"])
    team.create_key("mail")
    key.revoked_at = timezone.now()
    key.save()
    refresh(world)
    assert acme_services(team) == []


@pytest.mark.parametrize(
    ("keys", "tenant"),
    [
        ([], ""),
        ([{"tenant": "acme"}], "acme"),
        ([{"tenant": "acme"}, {"tenant": "acme"}], "acme"),
        ([{"tenant": "acme"}, {}], ""),
        ([{"tenant": "acme"}, {"tenant": "other"}], ""),
        ([{"tenant": "acme"}, {"tenant": "other", "methods": ["GET"]}, {"ip": {"allow": ["192.0.2.1"]}}], "acme"),
        ([{"tenant": "acme", "limits": {"rate": "1/m"}}], ""),
    ],
)
def test_a_members_key_has_the_tenant_that_staff_have_given_the_consumers_keys(
    acme: Team, keys: list[dict[str, Any]], tenant: str
) -> None:
    for fields in keys:
        staff_key(acme, scopes=["crm"], **fields)
    acme.create_key()
    assert ApiKey.objects.get(created_by=f"member:{acme.member.email}").tenant == tenant


def test_there_are_at_most_as_many_keys_as_configured(acme: Team) -> None:
    few = msgspec.structs.replace(settings.CONFIG.portal, max_keys=2)
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, portal=few)):
        staff_key(acme, scopes=["crm"])
        acme.create_key()
        response = acme.post("keys/", name="third", services="crm")
        assert "as many active keys as you may" in response.content.decode()
        ApiKey.objects.filter(name="a key").update(revoked_at=timezone.now())
        acme.create_key()


def test_keys_are_created_at_a_limited_rate(acme: Team) -> None:
    many = msgspec.structs.replace(settings.CONFIG.portal, max_keys=1000)
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, portal=many)):
        statuses = [acme.post("keys/", name="k", services="crm").status_code for _ in range(32)]
    assert statuses == [200] * 30 + [302] * 2
    assert "Too many keys" in acme.text("keys/")


def test_after_all_are_revoked_another_can_be_created(acme: Team) -> None:
    acme.create_key()
    prefix = ApiKey.objects.get().prefix
    assert acme.post(f"keys/{prefix}/revoke/", confirm="on").status_code == 302
    assert "Make your first call" in acme.text()
    assert acme.call(acme.create_key()) == 200


def test_a_rotated_key_is_good_twice_until_the_grace_ends(acme: Team) -> None:
    old = acme.create_key()
    prefix = ApiKey.objects.get().prefix
    new = secret_of(acme.post(f"keys/{prefix}/rotate/", grace="3600"))
    assert new != old
    assert [acme.call(new), acme.call(old)] == [200, 200]
    last = secret_of(acme.post(f"keys/{prefix}/rotate/", grace="0"))
    assert [acme.call(last), acme.call(new), acme.call(old)] == [200, 401, 401]
    assert "used 1 time" not in acme.text(f"keys/{prefix}/")


def test_a_revoked_key_is_refused_and_neither_rotated_nor_changed(acme: Team) -> None:
    key = acme.create_key()
    prefix = ApiKey.objects.get().prefix
    assert acme.post(f"keys/{prefix}/revoke/").status_code == 200  # not confirmed
    assert acme.call(key) == 200
    acme.post(f"keys/{prefix}/rotate/", grace="3600")
    assert "Earlier secret" in acme.text(f"keys/{prefix}/")
    acme.post(f"keys/{prefix}/revoke/", confirm="on")
    assert acme.call(key) == 401
    assert "Earlier secret" not in acme.text(f"keys/{prefix}/"), "it is not accepted either"
    assert acme.post(f"keys/{prefix}/rotate/", grace="0")["Location"] == f"/portal/keys/{prefix}/"
    assert "the key is revoked" in acme.text(f"keys/{prefix}/")
    acme.post(f"keys/{prefix}/services/", services="crm")
    assert acme.call(key) == 401


def test_an_expired_key_is_shown_as_such_and_not_renewed(acme: Team) -> None:
    acme.create_key(expires="30")
    row = ApiKey.objects.get()
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(minutes=17))
    page = acme.text("keys/")
    assert "expired" in page
    assert 'data-tone="good">active' not in page
    assert 'data-tone="bad">abgelaufen' in acme.get("keys/", HTTP_ACCEPT_LANGUAGE="de").content.decode()
    acme.post(f"keys/{row.prefix}/rotate/", grace="0")
    assert ApiKey.objects.get().rotated_at is None
    assert "Make your first call" in acme.text()


def test_a_key_that_operates_the_gateway_stays_with_staff(acme: Team) -> None:
    key, secret = staff_key(acme, scopes=["crm", "metrics:write"])
    for action, data in (("rotate", {"grace": "0"}), ("revoke", {"confirm": "on"}), ("services", {"services": "crm"})):
        response = acme.post(f"keys/{key.prefix}/{action}/", **data)
        assert "may operate the gateway" in response.content.decode()
    assert acme.call(secret) == 200


def test_a_key_of_staff_can_be_rotated_and_revoked_but_not_changed(acme: Team) -> None:
    key, secret = staff_key(acme, scopes=["crm"], methods=["GET"])
    acme.post(f"keys/{key.prefix}/services/", services="crm")
    new = secret_of(acme.post(f"keys/{key.prefix}/rotate/", grace="0"))
    assert [acme.call(secret), acme.call(new), acme.call(new, method="post")] == [401, 200, 403]
    acme.post(f"keys/{key.prefix}/revoke/", confirm="on")
    assert acme.call(new) == 401


def test_a_bigger_plan_is_live_and_its_services_can_be_added_to_a_key(acme: Team) -> None:
    key = acme.create_key()
    prefix = ApiKey.objects.get().prefix
    pro = Plan.objects.get(name="pro")
    approve(request_plan(acme.consumer, pro, "", acme.member.email), pro, "", "staff:ada")
    refresh(acme.harness)
    assert "Your plan includes more than this key may call: mail" in acme.text(f"keys/{prefix}/")
    acme.post(f"keys/{prefix}/services/", services=["crm", "mail"])
    assert [acme.call(key), acme.call(key, "mail/contacts/1")] == [200, 200]
    subscription = acme.harness.live.keys.consumers.subscription(acme.consumer.pk)
    assert subscription is not None
    assert not subscription.allows("mail", "POST")


def test_two_keys_share_the_consumers_quota(acme: Team) -> None:
    """A second key is no second quota."""
    created = [acme.create_key(), acme.create_key()]
    callers = [acme.harness.live.keys.find(key, 0.0) for key in created]
    subscriptions = [caller.subscription for caller in callers if caller and caller.subscription]
    assert len(subscriptions) == 2
    assert len({quota.meter.key for subscription in subscriptions for quota in subscription.quotas}) == 1


def test_a_consumers_key_rotates_none_of_other_consumers(acme: Team, rival: Team) -> None:
    """Its new secret would be that consumer's identity."""
    own, theirs = (staff_key(team, scopes=["keys:rotate", "crm"])[1] for team in (acme, rival))
    general = issue(ApiKey(name="ops", scopes=["keys:rotate", "crm"]))
    refresh(acme.harness)
    of_rival = ApiKey.objects.get(consumer=rival.consumer)

    def rotate(key: str) -> int:
        path, headers = f"/api/keys/{of_rival.prefix}/rotate", {"X-API-Key": key}
        return Client().post(path, {"grace": "1h"}, content_type="application/json", headers=headers).status_code

    assert rotate(own) == 403
    assert rotate(theirs) == 200
    assert rotate(general) == 200


def test_a_replaced_secret_is_not_said_to_outlive_its_key(acme: Team) -> None:
    """Whoever relies on the time that is shown has requests refused before it."""
    ends = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    key, _ = staff_key(acme, scopes=["crm"], expires_at=ends)
    secret = issue(ApiKey(name="ops", scopes=["keys:rotate", "crm"]))
    refresh(acme.harness)
    response = Client().post(
        f"/api/keys/{key.prefix}/rotate", {}, content_type="application/json", headers={"X-API-Key": secret}
    )
    assert response.json()["old_valid_until"] == f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    page = acme.post(f"keys/{key.prefix}/rotate/", grace="604800").content.decode()
    assert f"accepted until {date_format(timezone.localtime(ends), 'DATETIME_FORMAT')}" in page
    assert {secret.valid_until for secret in key.retired.all()} == {ends}


def test_a_prefix_is_accepted_in_each_form_in_which_it_is_shown(acme: Team) -> None:
    """The response to a rotation itself names the key so."""
    key, _ = staff_key(acme, scopes=["crm"], environment="live")
    secret = issue(ApiKey(name="ops", scopes=["keys:rotate", "crm"]))
    refresh(acme.harness)

    def rotate(prefix: str) -> Any:
        path = f"/api/keys/{prefix}/rotate"
        return Client().post(path, {"grace": 0}, content_type="application/json", headers={"X-API-Key": secret})

    shown = rotate(key.prefix).json()["prefix"]
    assert shown == f"gw_live_{key.prefix}"
    assert [rotate(prefix).status_code for prefix in (shown, f"gw_{key.prefix}", f"key:{key.prefix}")] == [200] * 3
    unknown = rotate("gw_AAAAAAAA")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_key")
    assert rotate(secret).json()["code"] == "unknown_service"
