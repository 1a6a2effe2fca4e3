"""Logins with a password: second factors, sessions, and changing the password."""

import base64
import hmac
import re
import struct
import time

import pytest
import requests
from websockets import ConnectionClosed, Origin
from websockets.sync.client import ClientConnection, connect

from tests.system.sign_in.conftest import PASSWORD, Open, Site
from tests.system.sign_in.visitor import Visitor

WRONG = "This is not the present code"


def code_of(key: str, periods: int = 0) -> str:
    """The code of a key (RFC 6238), so many periods of 30 s from now."""
    digest = hmac.digest(base64.b32decode(key), struct.pack(">Q", int(time.time()) // 30 + periods), "sha1")
    (value,) = struct.unpack(">I", digest[digest[-1] & 15 :][:4])
    return f"{(value & 0x7FFFFFFF) % 1_000_000:06d}"


def confirm(visitor: Visitor, response: requests.Response) -> requests.Response:
    """Enter the password where the page asks for it again."""
    assert response.headers["Location"].startswith("/accounts/confirm/"), response.text
    return visitor.post(response.headers["Location"], password=PASSWORD)


def set_up(visitor: Visitor, path: str = "/accounts/second-factor/set-up/") -> tuple[str, list[str], str]:
    """Set up an authenticator app. Returns its key, the recovery codes, and the page that shows these."""
    page = visitor.get(path)
    key = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert key is not None
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1], "code": code_of(key[1])}
    headers = {"Referer": visitor.address}
    done = visitor.session.post(page.url, data=form, headers=headers, timeout=30)
    codes = re.findall(r"<li><code>([0-9]{8})</code></li>", done.text)
    assert len(codes) == 10, done.text
    return key[1], codes, done.text


def new_user(site: Site, name: str) -> str:
    """A member of staff with ada's password."""
    import contextlib
    import sqlite3

    query = (
        "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, first_name, last_name, email, "
        "date_joined) SELECT ?, password, 1, 1, 1, '', '', '', date_joined FROM auth_user WHERE username = 'root'"
    )
    with contextlib.closing(sqlite3.connect(site.server.database, timeout=30)) as database, database:
        database.execute(query, (name,))
    return name


def test_the_admins_login_leads_to_the_only_form(site: Site) -> None:
    visitor = site.visitor()
    page = visitor.get("/admin/")
    assert page.url.endswith("/accounts/login/?next=%2Fadmin%2F")
    response = visitor.post("/admin/login/", page="/accounts/login/", username="root", password=PASSWORD)
    assert response.headers["Location"] == "/accounts/login/"
    assert not visitor.is_signed_in


def test_a_second_factor_is_set_up_and_then_needed(site: Site) -> None:
    name, visitor = new_user(site, "factor"), site.visitor()
    assert visitor.log_in(PASSWORD, name).headers["Location"] == "/admin/"
    first = visitor.get("/accounts/second-factor/set-up/", follow=False)
    assert confirm(visitor, first).headers["Location"] == "/accounts/second-factor/set-up/"
    key, codes, page = set_up(visitor)
    assert "Continue" not in page

    other = site.visitor()
    assert other.log_in(PASSWORD, name, "/dashboard/").headers["Location"] == "/accounts/second-factor/"
    assert not other.is_signed_in
    assert other.get("/dashboard/").url.endswith("/accounts/login/?next=%2Fdashboard%2F")
    assert other.get("/metrics").status_code == 401
    assert WRONG in other.post("/accounts/second-factor/", code="000000").text
    assert WRONG in other.post("/accounts/second-factor/", code=code_of(key, -1)).text
    assert WRONG in other.post("/accounts/second-factor/", code=code_of(key)).text, "setting up has used it"
    code = code_of(key, 1)
    assert other.post("/accounts/second-factor/", code=code).headers["Location"] == "/dashboard/"
    assert other.get("/dashboard/").status_code == 200

    again = site.visitor()
    again.log_in(PASSWORD, name)
    assert WRONG in again.post("/accounts/second-factor/", code=code).text, "a code is used once"
    assert again.post("/accounts/second-factor/", code=codes[0]).headers["Location"] == "/admin/"
    third = site.visitor()
    third.log_in(PASSWORD, name)
    assert WRONG in third.post("/accounts/second-factor/", code=codes[0]).text, "a recovery code too"
    stored = site.rows("SELECT data FROM mfa_authenticator")
    assert key not in str(stored)
    actions = site.actions(f"staff:{name}")
    assert actions.count("account.signed_in") == 3
    assert "account.second_factor_added" in actions


def test_recovery_codes_end_with_the_app_that_a_superuser_removes(site: Site) -> None:
    name, visitor, owner = new_user(site, "lost"), site.visitor(), site.visitor()
    visitor.log_in(PASSWORD, name)
    confirm(visitor, visitor.get("/accounts/second-factor/set-up/", follow=False))
    _, codes, _ = set_up(visitor)
    owner.log_in(PASSWORD, "root")
    page = "/admin/mfa/authenticator/"
    rows = "SELECT a.id, a.type FROM mfa_authenticator a JOIN auth_user u ON u.id = a.user_id WHERE u.username = 'lost'"
    found = {kind: pk for pk, kind in site.rows(rows)}
    owner.post(f"{page}{found['recovery_codes']}/delete/", post="yes")
    response = visitor.get("/accounts/recovery-codes/", follow=False)
    assert response.headers["Location"] == "/accounts/recovery-codes/new/"
    visitor.post("/accounts/recovery-codes/new/")
    owner.post(f"{page}{found['totp']}/delete/", post="yes")
    assert site.rows(rows) == []
    assert site.actions("staff:root").count("account.second_factor_removed") == 3
    assert visitor.get("/accounts/recovery-codes/", follow=False).status_code == 404
    _, new, _ = set_up(visitor)
    assert not set(codes) & set(new)


def test_wrong_codes_of_an_account_are_limited(site: Site) -> None:
    name, visitor = new_user(site, "guessed"), site.visitor()
    visitor.log_in(PASSWORD, name)
    confirm(visitor, visitor.get("/accounts/second-factor/set-up/", follow=False))
    key, *_ = set_up(visitor)
    other = site.visitor()
    other.log_in(PASSWORD, name)
    pages = (other.post("/accounts/second-factor/", code="000000").text for _ in range(15))
    assert any("Too many wrong codes" in page for page in pages)
    assert "Too many wrong codes" in other.post("/accounts/second-factor/", code=code_of(key)).text


def test_the_provider_checks_its_own_second_factors(site: Site) -> None:
    name, visitor = new_user(site, "both"), site.visitor()
    visitor.log_in(PASSWORD, name)
    confirm(visitor, visitor.get("/accounts/second-factor/set-up/", follow=False))
    set_up(visitor)
    begun = visitor.post("/accounts/provider/", page="/accounts/", process="connect")
    site.provider.person = {"sub": "both-1", "groups": ["viewers"]}
    back = visitor.get(begun.headers["Location"], follow=False).headers["Location"]
    assert visitor.get(back, follow=False).headers["Location"] == "/accounts/"
    assert site.visitor().sign_in().headers["Location"] == "/admin/"


def test_a_changed_password_ends_the_other_sessions(site: Site) -> None:
    name = new_user(site, "changer")
    first, second = site.visitor(), site.visitor()
    first.log_in(PASSWORD, name)
    second.log_in(PASSWORD, name)
    changed = "another one, for tests alone"
    refused = first.post("/accounts/password/", oldpassword="wrong", password1=changed, password2=changed)
    assert refused.status_code == 200
    done = first.post("/accounts/password/", oldpassword=PASSWORD, password1=changed, password2=changed)
    assert done.headers["Location"] == "/accounts/", done.text
    assert "Your password has been changed." in first.get("/accounts/").text
    assert "Your password has been changed." not in first.get("/accounts/").text
    assert first.is_signed_in
    assert not second.is_signed_in
    assert "account.password_changed" in site.actions(f"staff:{name}")


def test_sessions_are_listed_and_ended(site: Site) -> None:
    name = new_user(site, "sitter")
    visitors = [site.visitor() for _ in range(4)]
    for number, visitor in enumerate(visitors):
        visitor.session.headers["User-Agent"] = f"browser {number} <b>"
        visitor.log_in(PASSWORD, name)
    page = visitors[0].get("/accounts/sessions/").text
    assert [f"browser {number} &lt;b&gt;" in page for number in range(4)] == [True] * 4
    (session,) = site.rows("SELECT id FROM usersessions_usersession WHERE user_agent LIKE 'browser 2%'")[0]
    foreign = site.visitor()
    foreign.log_in(PASSWORD)
    foreign.post("/accounts/sessions/", page="/accounts/", session=str(session))
    assert visitors[2].is_signed_in, "somebody else's session"
    visitors[0].post("/accounts/sessions/", page="/accounts/", session=str(session))
    assert [visitor.is_signed_in for visitor in visitors] == [True, True, False, True]
    visitors[0].post("/accounts/sessions/", page="/accounts/")
    assert [visitor.is_signed_in for visitor in visitors] == [True, False, False, False]


def test_an_owner_ends_sessions_of_others(site: Site) -> None:
    victim, owner, operator = site.visitor(), site.visitor(), site.visitor()
    victim.log_in(PASSWORD, new_user(site, "ended"))
    owner.log_in(PASSWORD, "root")
    operator.log_in(PASSWORD, "ada")
    query = (
        "SELECT s.id FROM usersessions_usersession s JOIN auth_user u ON u.id = s.user_id WHERE u.username = 'ended'"
    )
    (session,) = site.rows(query)[0]
    page = "/admin/usersessions/usersession/"
    assert operator.get(page).status_code == 403
    assert "account.session_ended" not in site.actions("staff:root")
    owner.post(page, action="end", _selected_action=str(session))
    assert not victim.is_signed_in
    assert owner.is_signed_in
    assert "account.session_ended" in site.actions("staff:root")


def test_a_wrong_password_is_recorded_for_accounts_that_exist(site: Site) -> None:
    name = new_user(site, "target")
    assert site.visitor().log_in("wrong", name).status_code == 200
    assert site.visitor().log_in("wrong", "a password typed as a name").status_code == 200
    assert site.actions(f"staff:{name}") == ["account.refused"]
    assert not site.rows("SELECT 1 FROM metrics_operation WHERE actor LIKE '%typed as a name%'")


def test_somebody_who_is_no_staff_gets_no_page_of_staffs(site: Site) -> None:
    visitor = site.visitor()
    response = visitor.log_in(PASSWORD, "vera", "/dashboard/")
    page = visitor.get(response.headers["Location"])
    assert page.status_code == 403
    assert "no page of the gateway" in page.text
    for path in ("/dashboard/", "/admin/", "/admin/routing/service/"):
        assert visitor.get(path).status_code == 403


def test_where_a_second_factor_is_required_no_session_begins_without_it(open_site: Open) -> None:
    site = open_site(STAFF_SECOND_FACTOR="required")
    visitor = site.visitor()
    assert visitor.log_in(PASSWORD, "root", "/dashboard/").headers["Location"] == "/accounts/second-factor/first/"
    assert not visitor.is_signed_in
    assert visitor.get("/metrics").status_code == 401
    assert visitor.get("/accounts/second-factor/set-up/").url.split("?")[0].endswith("/accounts/login/")
    key, _, page = set_up(visitor, "/accounts/second-factor/first/")
    assert '<a href="/dashboard/">Continue</a>' in page
    assert visitor.get("/dashboard/").status_code == 200
    other = site.visitor()
    assert other.log_in(PASSWORD, "root").headers["Location"] == "/accounts/second-factor/"
    assert other.post("/accounts/second-factor/", code=code_of(key, 1)).headers["Location"] == "/admin/"
    confirmed = confirm(other, other.get("/accounts/second-factor/remove/", follow=False))
    assert confirmed.headers["Location"] == "/accounts/second-factor/remove/"
    other.post("/accounts/second-factor/remove/")
    assert site.rows("SELECT COUNT(*) FROM mfa_authenticator")[0][0] == 2, "it is required"
    site.provider.person = {"sub": "p", "groups": ["viewers"]}
    assert site.visitor().sign_in().headers["Location"] == "/admin/"


@pytest.mark.parametrize("path", ["/ws/dashboard/", "/ws/dashboard/events/"])
def test_sockets_close_after_their_session_has_ended(site: Site, path: str) -> None:
    visitor, other = site.visitor(), site.visitor()
    site.provider.person = {"sub": "socket", "groups": ["viewers"]}
    visitor.sign_in()
    other.sign_in()
    headers = {"Cookie": f"sessionid={visitor.session.cookies['sessionid']}"}
    address = site.server.address.replace("http:", "ws:") + path
    with connect(address, origin=Origin(site.server.address), additional_headers=headers) as socket:
        other.post("/accounts/sessions/", page="/accounts/")
        assert not visitor.is_signed_in
        assert close_code(socket) == 4401


def close_code(socket: ClientConnection) -> int | None:
    """With which code the gateway closes, whatever it sends before."""
    try:
        while True:
            socket.recv(timeout=40)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code
