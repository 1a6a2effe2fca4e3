"""Signing in where the environment configures a provider or second factors: by the login page of staff."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings

from metrics.sign_in.policy import SecondFactor, SignIn
from routing.models import Member
from tests.metrics.portal.teams import PASSWORD, Team
from tests.metrics.portal.test_members import NEW, link_in

pytestmark = pytest.mark.django_db


def configured(**fields: Any) -> Any:
    return override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, sign_in=SignIn(**fields)))


@pytest.fixture
def client(acme: Team) -> Client:
    """Its middleware has been made already, as the process's own configuration says."""
    made = Client()
    made.get("/portal/login/")
    return made


def test_a_password_alone_begins_no_session(acme: Team, client: Client) -> None:
    with configured(second_factor=SecondFactor.REQUIRED):
        form = {"username": acme.member.email, "password": PASSWORD, "next": "/portal/keys/"}
        response = client.post("/portal/login/", form)
        assert response["Location"] == "/accounts/login/?next=%2Fportal%2Fkeys%2F"
        assert "_auth_user_id" not in client.session
        link = link_in(acme.post("members/invite/", email="new@acme.example", role="member"))
        joined = client.post(link, NEW)
        assert joined["Location"] == "/portal/"
        assert "_auth_user_id" not in client.session
        assert Member.objects.get(email="new@acme.example").user is not None


def test_without_passwords_people_join_with_the_account_of_the_provider(acme: Team, client: Client) -> None:
    with configured(has_password_login=False):
        link = link_in(acme.post("members/invite/", email="new@acme.example", role="member"))
        page = client.get(link).content.decode()
        assert "new_password1" not in page
        assert f'/portal/login/?next={link}"' in page
        assert client.post(link, NEW).status_code == 200
        assert not User.objects.filter(username="new@acme.example").exists()
        client.force_login(User.objects.create_user("from the provider"))
        assert client.post(link, {"join": "1"}).status_code == 302
        assert client.get("/portal/").status_code == 200


def test_the_login_page_of_staff_leads_members_to_the_portal(acme: Team, client: Client) -> None:
    response = client.post("/accounts/login/", {"username": acme.member.email, "password": PASSWORD})
    assert response["Location"] == "/portal/"
    assert client.get("/portal/").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/portal/keys/", "/portal/keys/"),
        ("/portal/../api/v1/crm/x", "/portal/"),
        ("/portal/%2e%2e/api/v1/crm/x", "/portal/"),
        ("/portal/services/..%2f..%2fapi/v1/crm/x/", "/portal/"),
        ("/admin/", "/portal/"),
        ("https://evil.example/portal/", "/portal/"),
    ],
)
def test_a_link_leads_members_to_pages_of_the_portal_alone(
    acme: Team, client: Client, wanted: str, target: str
) -> None:
    form = {"username": acme.member.email, "password": PASSWORD, "next": wanted}
    assert client.post("/accounts/login/", form)["Location"] == target
