"""Gateways with other settings of sign-in, each of its own."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests

from tests.identity_provider import jwk
from tests.openid_provider import CLIENT_SECRET, OpenIDProvider
from tests.ports import free_port
from tests.system.sign_in.conftest import PASSWORD, Open
from tests.system.sign_in.visitor import Visitor


def test_only_the_provider_and_only_for_one_domain_and_tenant(open_site: Open) -> None:
    limits = {"STAFF_OIDC_DOMAINS": "example.com", "STAFF_OIDC_TENANTS": "acme"}
    site = open_site(STAFF_PASSWORD_LOGIN="off", STAFF_OIDC_NAME="Acme <SSO>", **limits)
    page = site.visitor().get("/dashboard/").text
    assert "Sign in with Acme &lt;SSO&gt;" in page
    assert 'name="password"' not in page
    response = site.visitor().post("/accounts/login/", username="root", password=PASSWORD)
    assert response.status_code == 403
    assert "Passwords are switched off" in response.text

    person: dict[str, Any] = {
        "sub": "a",
        "groups": ["ops"],
        "hd": "acme",
        "email": "a@Example.com",
        "email_verified": True,
    }
    cases: list[tuple[dict[str, Any], str]] = [
        ({"hd": "other"}, "organisation"),
        ({"hd": None}, "organisation"),
        ({"email": "a@example.com.evil.test"}, "domain"),
        ({"email": "a@evil.test@example.com"}, "has not verified"),
        ({"email": None}, "did not send"),
        ({"email_verified": False}, "has not verified"),
        ({"email_verified": None}, "has not verified"),
        ({"email_verified": "false"}, "has not verified"),
    ]
    for change, text in cases:
        site.provider.person = {key: value for key, value in (person | change).items() if value is not None}
        visitor = site.visitor()
        refused = visitor.sign_in()
        assert (refused.status_code, text in refused.text) == (403, True), (change, refused.text)
        assert not visitor.is_signed_in
    site.provider.person = person
    assert site.visitor().sign_in().status_code == 302


def test_groups_of_user_info_and_a_secret_of_a_file(open_site: Open, tmp_path: Path) -> None:
    """Argo CD 8272 and 16277: Okta keeps groups for UserInfo."""
    (tmp_path / "oidc").write_text("not yet the secret\n")
    provider = OpenIDProvider()
    provider.person = {"sub": "thin", "preferred_username": "thin"}
    provider.userinfo = {"sub": "thin", "roles": {"gateway": ["ops"]}, "email": "t@example.com"}
    provider.secret_in_form = True
    site = open_site(
        provider,
        STAFF_OIDC_CLIENT_SECRET=f"file:{tmp_path}/oidc",
        SECRETS_FROM=str(tmp_path),
        STAFF_OIDC_GROUPS_CLAIM="roles.gateway",
    )
    refused = site.visitor().sign_in()
    assert (refused.status_code, "invalid_client" in refused.text) == (502, True)
    (tmp_path / "oidc").write_text(f"{CLIENT_SECRET}\n")
    assert site.visitor().sign_in().status_code == 302
    assert site.groups("thin") == ["Operator"]

    provider.userinfo = {"sub": "somebody else", "roles": {"gateway": ["owners"]}}
    response = site.visitor().sign_in()
    assert response.status_code == 403
    assert "another person" in response.text
    assert site.groups("thin") == ["Operator"]


def test_keys_are_rotated_and_a_provider_may_be_away_at_the_start(open_site: Open) -> None:
    provider = OpenIDProvider()
    provider.is_away = True
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    site = open_site(provider)
    visitor = site.visitor()
    response = visitor.post("/accounts/provider/", page="/accounts/login/")
    assert response.status_code == 503
    assert "The provider is not available" in response.text
    assert visitor.log_in(PASSWORD, "root").status_code == 302

    provider.is_away = False
    provider.keys = [jwk("e1", "ES256"), jwk("p1", "PS256")]
    provider.person = {"sub": "r", "preferred_username": "r", "groups": ["ops"]}
    provider.sign = lambda claims: provider.signed(claims, "e1", "ES256")
    other = site.visitor()
    import time

    deadline = time.monotonic() + 30
    while other.post("/accounts/provider/", page="/accounts/login/").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "incomplete" in other.sign_in().text, "the provider names itself in its responses"
    assert other.get(f"{other.callback()}&iss={provider.issuer}", follow=False).status_code == 302
    provider.keys = [jwk("d1", "EdDSA")]
    provider.sign = lambda claims: provider.signed(claims, "d1", "EdDSA")
    third = site.visitor()
    assert third.get(f"{third.callback()}&iss={provider.issuer}", follow=False).status_code == 302


def test_staffs_pages_at_a_port_of_their_own(open_site: Open) -> None:
    """The addresses that the provider is told are those of the port, and it alone is where staff sign in and out."""
    port = free_port()
    site = open_site(STAFF_PORT=str(port), PORTAL="off")
    staff = Visitor(f"http://127.0.0.1:{port}")
    asked = parse_qs(urlsplit(staff.begin("/dashboard/")).query)
    assert asked["redirect_uri"] == [f"{staff.address}/accounts/provider/callback/"]
    assert staff.sign_in("/dashboard/").headers["Location"] == "/dashboard/"
    assert staff.get("/dashboard/").status_code == 200
    assert site.visitor().get("/accounts/login/", follow=False).status_code == 404
    token = {"logout_token": site.provider.logout_token(sub="ada-1")}
    elsewhere = requests.post(f"{site.server.address}/accounts/provider/logout/", data=token, timeout=30)
    assert elsewhere.status_code == 404
    left = staff.post("/accounts/logout/", page="/accounts/")
    assert f"post_logout_redirect_uri={quote(f'{staff.address}/accounts/login/', safe='')}" in left.text
    staff.sign_in()
    assert requests.post(f"{staff.address}/accounts/provider/logout/", data=token, timeout=30).status_code == 200
    assert not staff.is_signed_in
