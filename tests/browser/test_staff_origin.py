"""A page of a backend and the admin of a superuser, in Chromium: on one origin, and with a port for staff."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.pages import OPEN_SERVICE, PASSWORD, reply, running_gateway, web_server
from tests.ports import free_port

ATTACK = b"""<!doctype html><title>attack</title><body>start<script>
document.body.textContent = "script ran";
fetch("/admin/routing/apikey/add/").then(r => r.text()).then(async page => {
  const token = /csrfmiddlewaretoken" value="([^"]+)"/.exec(page)[1];
  const form = new URLSearchParams({csrfmiddlewaretoken: token, name: "stolen", scopes: "*", tenant: ""});
  const made = await fetch("/admin/routing/apikey/add/", {method: "POST", body: form});
  document.body.textContent = "minted " + /gw_[A-Za-z0-9_-]+/.exec(await made.text());
});
navigator.serviceWorker.register("/api/v1/open/worker.js", {scope: "/"}).then(() => { document.title = "worker"; });
</script><form id="f" method="post" action="/admin/logout/"></form>"""


class Site(NamedTuple):
    public: str
    staff: str
    evil: str


def respond(handler: BaseHTTPRequestHandler) -> None:
    if handler.path == "/worker.js":
        worker = {"Content_Type": "text/javascript", "Service_Worker_Allowed": "/"}
        reply(handler, 200, b"onfetch = () => {}", **worker)
    elif handler.path == "/cookies":
        reply(handler, 200, handler.headers.get("Cookie", "").encode(), Set_Cookie="sessionid=fixed; Path=/")
    else:
        reply(handler, 200, ATTACK)


def attacker(public: str) -> bytes:
    form = f'<form id="f" method="post" action="{public}/api/v1/open/page"></form>'
    return f"{form}<script>document.getElementById('f').submit()</script>".encode()


@pytest.fixture(scope="module", params=["one origin", "STAFF_PORT"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    staff_port = free_port() if request.param == "STAFF_PORT" else 0
    environment = {"STAFF_PORT": str(staff_port)} if staff_port else {}
    with ExitStack() as stack:
        backend = stack.enter_context(web_server(respond))
        configuration = OPEN_SERVICE.format(backend=backend)
        port, _ = stack.enter_context(running_gateway(tmp_path_factory.mktemp("gateway"), configuration, **environment))
        public = f"http://127.0.0.1:{port}"
        staff = f"http://127.0.0.1:{staff_port}" if staff_port else public
        targets = {"/": public, "/staff": staff}
        evil = stack.enter_context(
            web_server(lambda handler: reply(handler, 200, attacker(targets.get(handler.path, public))))
        )
        yield Site(public, staff, f"http://localhost:{evil}")


@pytest.fixture
def superuser(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.staff}/admin/login/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.staff}/admin/")
    yield context
    context.close()


def keys(context: BrowserContext, site: Site) -> str:
    page = context.new_page()
    page.goto(f"{site.staff}/admin/routing/apikey/")
    text = page.content()
    page.close()
    return text


def wait(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def test_a_page_of_a_backend_has_no_rights_of_a_superuser(superuser: BrowserContext, site: Site) -> None:
    """The attacker's page leads there by a form: a link would show staff a page of their own."""
    page = superuser.new_page()
    for address, target in ((site.evil, site.public), (f"{site.evil}/staff", site.staff)):
        page.goto(address)
        page.wait_for_url(f"{target}/api/v1/open/page")
        wait(page)
        assert "minted" not in page.inner_text("body")
    assert page.inner_text("body").startswith("start")
    assert (page.title(), page.evaluate("window.origin")) == ("attack", "null")
    assert "stolen" not in keys(superuser, site)
    assert "browser" in keys(superuser, site)


def test_cookies_of_staff_reach_no_backend_and_come_from_none(superuser: BrowserContext, site: Site) -> None:
    page = superuser.new_page()
    assert page.request.get(f"{site.public}/api/v1/open/cookies").text() == ""
    page.goto(f"{site.staff}/admin/")
    assert "/admin/login/" not in page.url


def test_the_public_origin_has_no_pages_of_staff(superuser: BrowserContext, site: Site) -> None:
    page = superuser.new_page()
    for path in ("/", "/admin/", "/admin/login/", "/dashboard/", "/api/docs"):
        response = page.goto(f"{site.public}{path}")
        assert response is not None
        assert response.status == (200 if site.public == site.staff else 404)


def test_pages_of_staff_break_no_rule_of_their_policy(superuser: BrowserContext, site: Site) -> None:
    page = superuser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.on("pageerror", lambda error: refused.append(str(error)))
    for path in (
        "/admin/",
        "/admin/routing/service/",
        "/admin/routing/service/add/",
        "/admin/routing/apikey/add/",
        "/admin/explain/",
        "/dashboard/",
        "/api/docs",
    ):
        page.goto(f"{site.staff}{path}")
        wait_for_content(page)
    page.goto(f"{site.staff}/api/docs")
    page.wait_for_selector(".opblock", timeout=15_000)
    assert refused == []


def wait_for_content(page: Page) -> None:
    page.wait_for_load_state("load")
    page.wait_for_timeout(300)
