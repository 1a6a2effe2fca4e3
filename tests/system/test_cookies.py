"""Cookies of a Django backend, which has the default names, beside those of staff."""

from collections.abc import Iterator

import pytest

from tests.system.backend import Backend, ok
from tests.system.conftest import Gateway, Seed, gateway
from tests.system.server import Server


@pytest.fixture(scope="module")
def prefixed(seed: Seed, backend: Backend) -> Iterator[Server]:
    server = gateway(seed, backend, COOKIE_PREFIX="gateway_")
    yield server.start()
    server.close()


def test_a_django_backend_logs_in_its_users(prefixed: Server, backend: Backend) -> None:
    backend.scripts |= {"/login": ok(b"{}", b"Set-Cookie: sessionid=theirs; Path=/", b"Set-Cookie: csrftoken=a")}
    cookies = prefixed.get("/api/v1/open/login").cookies.get_dict()
    assert cookies == {"sessionid": "theirs", "csrftoken": "a"}
    staff = prefixed.get("/admin/login/").cookies.get_dict()
    assert set(staff) == {"gateway_csrftoken"}
    sent = cookies | staff | {"gateway_sessionid": "ours"}
    prefixed.get("/api/v1/open/account", cookies=sent)
    (received,) = [dict(each.fields)[b"cookie"] for each in backend.requests if b"/account" in each.line]
    assert sorted(received.split(b"; ")) == [b"csrftoken=a", b"sessionid=theirs"]


def test_a_backend_cannot_set_the_cookies_of_staff(prefixed: Server, backend: Backend) -> None:
    backend.scripts |= {"/fixation": ok(b"{}", b"Set-Cookie: gateway_sessionid=theirs; Path=/")}
    assert "Set-Cookie" not in prefixed.get("/api/v1/open/fixation").headers


def test_at_a_host_of_its_own_it_uses_the_default_names(single: Gateway, backend: Backend) -> None:
    backend.scripts |= {"/own": ok(b"{}", b"Set-Cookie: sessionid=theirs; Path=/", b"Set-Cookie: csrftoken=a")}
    fields = {"Host": "open.test", "Accept": "text/html"}
    first = single.get("/own", headers=fields)
    assert first.cookies.get_dict() == {"sessionid": "theirs", "csrftoken": "a"}
    again = single.get("/own", headers=fields | {"Cookie": "sessionid=theirs; csrftoken=a"})
    assert again.status_code == 200
    assert dict(backend.requests[-1].fields)[b"cookie"] == b"sessionid=theirs; csrftoken=a"


def test_the_default_names_are_kept_from_backends(single: Gateway, backend: Backend) -> None:
    backend.scripts |= {"/named": ok(b"{}", b"Set-Cookie: sessionid=theirs; Path=/", b"Set-Cookie: csrftoken=a")}
    assert "Set-Cookie" not in single.get("/api/v1/open/named").headers
    single.get("/api/v1/open/defaults", cookies={"sessionid": "ours", "csrftoken": "ours", "other": "b"})
    (received,) = [dict(each.fields)[b"cookie"] for each in backend.requests if b"/defaults" in each.line]
    assert received == b"other=b"
