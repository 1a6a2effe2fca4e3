"""Sign-in with the provider, as it should be: the account, its role, where it leads, and signing out."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.system.sign_in.conftest import PASSWORD, Site


def person(subject: str, *groups: str, **claims: object) -> dict[str, object]:
    return {"sub": subject, "preferred_username": subject, "groups": list(groups), **claims}


def test_the_first_sign_in_creates_an_account_with_the_role_of_its_groups(site: Site) -> None:
    site.provider.person = person("first", "ops", "unknown", given_name="Ada", family_name="Lovelace")
    visitor = site.visitor()
    response = visitor.sign_in("/dashboard/")
    assert (response.status_code, response.headers["Location"]) == (302, "/dashboard/"), response.text
    assert visitor.get("/dashboard/").status_code == 200
    assert site.groups("first") == ["Operator"]
    stored = site.rows("SELECT first_name, password, is_superuser FROM auth_user WHERE username = 'first'")
    assert stored[0][0] == "Ada"
    assert stored[0][1].startswith("!")
    assert not stored[0][2]
    assert site.actions("staff:first") == ["account.created", "account.role_changed", "account.signed_in"]


def test_groups_decide_at_every_sign_in(site: Site) -> None:
    for groups, roles in [
        (["viewers"], ["Viewer"]),
        (["viewers", "owners", "ops"], ["Owner"]),
        (["ops"], ["Operator"]),
        (["viewers"], ["Viewer"]),
    ]:
        site.provider.person = person("mover", *groups)
        visitor = site.visitor()
        assert visitor.sign_in().headers["Location"] == "/admin/"
        assert site.groups("mover") == roles
        may_add = visitor.get("/admin/routing/service/add/", follow=False).status_code
        assert may_add == (200 if roles == ["Owner"] else 403)


def test_who_has_left_the_groups_has_no_rights_any_more(site: Site) -> None:
    site.provider.person = person("leaver", "owners")
    before = site.visitor()
    before.sign_in()
    assert before.get("/dashboard/").status_code == 200
    site.provider.person = person("leaver", "unknown")
    after = site.visitor()
    response = after.sign_in("/dashboard/")
    assert response.status_code == 403
    assert "none of your groups may use the gateway" in response.text
    assert not after.is_signed_in
    assert not site.is_staff("leaver")
    assert site.groups("leaver") == []
    page = before.get("/dashboard/")
    assert page.status_code == 403
    assert len(page.history) < 5
    assert before.get("/metrics").status_code == 403


def test_somebody_without_a_mapped_group_gets_no_account(site: Site) -> None:
    site.provider.person = person("stranger", "guests")
    visitor = site.visitor()
    visitor.session.headers["Accept-Language"] = "de"
    response = visitor.sign_in("/dashboard/")
    assert response.status_code == 403
    assert "Sie sind als stranger bekannt" in response.text
    assert not site.rows("SELECT 1 FROM auth_user WHERE username = 'stranger'")
    assert not visitor.is_signed_in
    refused = site.rows("SELECT after FROM metrics_operation WHERE actor LIKE 'provider:stranger at %'")
    assert "none of your groups" in refused[-1][0]


@pytest.mark.parametrize("verified", [False, True])
def test_neither_names_nor_addresses_give_access_to_another_account(site: Site, verified: bool) -> None:
    """CVE-2023-3128 of Grafana: an address was the identity."""
    site.rows("SELECT 1")
    subject = f"impostor-{verified}"
    claims = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": verified}
    site.provider.person = person(subject, "viewers") | claims
    visitor = site.visitor()
    visitor.sign_in()
    page = visitor.get("/accounts/").text
    assert "<h1>ada</h1>" not in page
    assert "<h1>ada-" in page
    assert site.groups("ada") == ["Operator"]
    owners = site.rows(
        "SELECT u.username FROM metrics_identity i JOIN auth_user u ON u.id = i.user_id WHERE i.subject = ?", subject
    )
    assert owners[0][0].startswith("ada-")


def test_an_account_is_connected_by_who_has_signed_in_to_it(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.log_in(PASSWORD, "olga").headers["Location"] == "/admin/"
    begun = visitor.post("/accounts/provider/", page="/accounts/", process="connect")
    assert begun.headers["Location"].startswith("/accounts/confirm/")
    sent = visitor.post(begun.headers["Location"], password=PASSWORD)
    assert sent.headers["Location"].startswith(site.provider.issuer), sent.text
    site.provider.person = person("olga-at-work", "viewers")
    back = visitor.get(sent.headers["Location"], follow=False).headers["Location"]
    assert visitor.get(back, follow=False).headers["Location"] == "/accounts/"
    other = site.visitor()
    other.sign_in()
    assert "<h1>olga</h1>" in other.get("/accounts/").text
    assert site.groups("olga") == ["Viewer"]


@pytest.mark.parametrize(
    "address",
    [
        *("https://evil.test/", "//evil.test/", "/\\evil.test/", "javascript:alert(1)", "http:evil.test"),
        *("\t//evil.test", "%2F%2Fevil.test/", " /dashboard/", "dashboard/"),
    ],
)
def test_next_leads_to_the_gateway_only(site: Site, address: str) -> None:
    site.provider.person = person("goer", "viewers")
    assert site.visitor().sign_in(address).headers["Location"] == "/admin/"
    assert site.visitor().log_in(PASSWORD, next_path=address).headers["Location"] == "/admin/"


def test_a_callback_that_is_loaded_again_leads_on(site: Site) -> None:
    """mozilla-django-oidc 312, 412 and 435: going back or reloading was 400."""
    site.provider.person = person("reloader", "viewers")
    visitor = site.visitor()
    callback = visitor.callback("/dashboard/")
    assert visitor.get(callback, follow=False).headers["Location"] == "/dashboard/"
    tokens = [path for path, _ in site.provider.requests if path == "/token"]
    again = visitor.get(callback, follow=False)
    assert (again.status_code, again.headers["Location"]) == (302, "/admin/")
    assert [path for path, _ in site.provider.requests if path == "/token"] == tokens


def test_several_tabs_sign_in_at_once(site: Site) -> None:
    site.provider.person = person("tabs", "viewers")
    visitor = site.visitor()
    callbacks = [visitor.callback(f"/dashboard/?tab={number}") for number in range(3)]
    for number in (2, 0, 1):
        assert visitor.get(callbacks[number], follow=False).headers["Location"] == f"/dashboard/?tab={number}"


def test_signing_out_ends_the_session_at_the_provider_too(site: Site) -> None:
    site.provider.person = person("goodbye", "viewers")
    visitor = site.visitor()
    visitor.sign_in()
    response = visitor.post("/accounts/logout/", page="/accounts/")
    assert response.status_code == 200
    url = response.text.split("0; url=")[1].split('"')[0].replace("&amp;", "&")
    query = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{site.provider.issuer}/logout?")
    assert query["post_logout_redirect_uri"] == [f"{site.server.address}/accounts/login/"]
    assert query["id_token_hint"][0].count(".") == 2
    assert not visitor.is_signed_in
    assert "Sign in with" in visitor.get("/dashboard/").text


def test_signing_out_of_a_provider_without_such_an_address(site: Site) -> None:
    visitor = site.visitor()
    visitor.log_in(PASSWORD)
    response = visitor.post("/admin/logout/", page="/accounts/")
    assert "http-equiv" not in response.text
    assert not visitor.is_signed_in


def test_a_session_of_the_provider_ends_within_hours(site: Site) -> None:
    site.provider.person = person("tired", "viewers")
    visitor = site.visitor()
    visitor.sign_in()
    (cookie,) = [cookie for cookie in visitor.session.cookies if cookie.name == "sessionid"]
    import time

    assert cookie.expires is not None
    assert 11.9 < (cookie.expires - time.time()) / 3_600 <= 12


def test_the_role_is_that_of_the_api_and_the_sockets_too(site: Site) -> None:
    site.provider.person = person("reader", "viewers")
    visitor = site.visitor()
    visitor.sign_in()
    assert visitor.get("/metrics").status_code == 200
    token = visitor.session.cookies["csrftoken"]
    headers = {"X-CSRFToken": token, "Referer": site.server.address}
    response = visitor.session.delete(f"{site.server.address}/metrics/cache", headers=headers, timeout=30)
    assert response.status_code == 403
