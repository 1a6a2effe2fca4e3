"""The portal in Chromium: from the invitation to a first answer, keys, phones, and pages of backends."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.accessibility import faults
from tests.browser.pages import PASSWORD, ROOT, own_environment, reply, running_gateway, web_server
from tests.processes import eventually

CONFIGURATION = """
version: 1
services:
  crm:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    cache: {{ttl: 300, scope: shared}}
    routes:
      - {{path: "/contacts", methods: [GET]}}
      - {{path: "/contacts/{{id}}", methods: [GET, DELETE]}}
  site:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    auth: none
    cache: off
  payroll:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
plans:
  free: {{rate: 600/m, quota: [{{amount: 1000, per: day}}], services: [crm, site]}}
  pro: {{rate: 6000/m, services: [crm, site, payroll], offered: true}}
consumers:
  acme: {{plan: free}}
"""
INVITE = """
from routing.database.members import invite
from routing.models import Consumer
print(invite(Consumer.objects.get(name="acme"), "dev@acme.example", "manager")[1])
"""
ATTACK = b"""<!doctype html><title>attack</title><body>start<script>
document.body.textContent = "script ran";
fetch("/portal/keys/").then(r => r.text()).then(text => { document.body.textContent = "stolen " + text; });
</script>"""
PHONE, WIDE = 390, 1440
PATHS = ("", "keys/", "usage/", "errors/", "plan/", "members/", "services/crm/", "password/")


def respond(handler: BaseHTTPRequestHandler) -> None:
    if handler.path == "/page":
        reply(handler, 200, ATTACK)
    elif handler.path == "/markup":
        reply(handler, 200, b"<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>")
    elif handler.path == "/away":
        reply(handler, 302, b"", Location="http://localhost:1/elsewhere")
    elif handler.path.startswith("/broken"):
        reply(handler, 500, b"oops", Content_Type="text/plain")
    else:
        seen = {"key": handler.headers.get("X-API-Key"), "cookie": handler.headers.get("Cookie"), "big": "n"}
        body = json.dumps(seen).replace('"n"', "12345678901234567890").encode()
        reply(handler, 200, body, Content_Type="application/json")


class Site(NamedTuple):
    url: str
    link: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("portal")
    with ExitStack() as stack:
        backend = stack.enter_context(web_server(respond))
        port, _ = stack.enter_context(running_gateway(directory, CONFIGURATION.format(backend=backend)))
        url = f"http://127.0.0.1:{port}"
        assert requests.get(f"{url}/portal/", timeout=30).status_code == 404  # nobody to use it yet
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", INVITE]
        environment = own_environment(directory, port)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        link = f"{url}/portal/invitations/{done.stdout.split()[-1]}/"
        # Another process has changed the database: the gateway polls for it.
        assert eventually(lambda: requests.get(link, timeout=30).status_code == 200), "the portal did not appear"
        yield Site(url, link)


class Steps:
    """What a person does, counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.number = 0

    def fill_and_press(self, values: dict[str, str], button: str) -> None:
        self.number += 1
        for label, value in values.items():
            self.page.get_by_label(label, exact=True).fill(value)
        self.page.get_by_role("button", name=button, exact=True).click()


Session = Callable[..., Page]


@pytest.fixture(scope="module")
def member(browser: Browser, site: Site) -> Iterator[Any]:
    """The storage state of a browser in which a person has joined, and what it took them to a first answer."""
    context = browser.new_context(viewport={"width": PHONE, "height": 844}, permissions=["clipboard-read"])
    page = context.new_page()
    steps, began = Steps(page), time.monotonic()
    page.goto(site.link)
    steps.fill_and_press({"New password": PASSWORD, "New password confirmation": PASSWORD}, "Join")
    steps.fill_and_press({}, "Create a key")
    steps.fill_and_press({}, "Send")
    expect(page.get_by_role("status").filter(has_text="200")).to_be_visible(timeout=15_000)
    yield context.storage_state(), steps.number, time.monotonic() - began
    context.close()


@pytest.fixture
def visit(browser: Browser, site: Site, member: Any) -> Iterator[Session]:
    """Opens pages as the member. Fails the test if one logged an error that is not of a response."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def opened(path: str = "", *, width: int = WIDE, scheme: Any = "light") -> Page:
        size: Any = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, storage_state=member[0])
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        page.goto(f"{site.url}/portal/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _is_fault(message: Any) -> bool:
    """What is refused on purpose is an error to the browser too."""
    refused = ("Failed to load resource", "Blocked script execution", "Unsafe attempt to load URL")
    return message.type == "error" and not any(text in message.text for text in refused)


def create_key(page: Page, name: str = "of a test") -> str:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create the key").click()
    return page.locator("#secret").inner_text()


def send(page: Page, path: str, method: str = "GET") -> str:
    """Send a call, and return the line that says what became of it."""
    page.get_by_label("Method").select_option(method)
    page.get_by_label("Path").fill(path)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(page.locator("[data-answer]")).to_be_visible()
    return page.locator(".status-line").inner_text()


def test_an_invited_person_has_a_first_answer_within_five_steps(member: Any) -> None:
    _, number, seconds = member
    assert number <= 5
    assert seconds < 120


def test_the_next_time_they_sign_in(browser: Browser, site: Site, member: Any) -> None:
    page = browser.new_page()
    page.goto(f"{site.url}/portal/keys/")
    assert page.url.endswith("/portal/login/?next=%2Fportal%2Fkeys%2F")
    page.get_by_label("Email address").fill("Dev@Acme.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/portal/keys/")
    expect(page.get_by_role("row", name="First key")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/portal/login/")
    page.close()


def test_a_call_is_shown_with_its_facts_and_sends_no_cookie(visit: Session) -> None:
    page = visit("keys/")
    key = create_key(page)
    first, second = send(page, "/contacts"), send(page, "/contacts")
    assert "200" in first
    assert "request id" in first
    assert "x-cache: HIT" in second
    shown = page.locator("[data-body]").inner_text()
    assert '"key": null' in shown  # the gateway's own
    assert '"cookie": null' in shown
    assert "12345678901234567890" in shown  # not rounded
    page.get_by_text("Header fields", exact=True).last.click()
    expect(page.locator("[data-headers]")).to_contain_text("cache-status")
    assert key not in page.url


def test_the_first_call_has_the_key_and_a_call_without_one_is_refused(visit: Session) -> None:
    page = visit("services/crm/")
    assert "401" in send(page, "/contacts")
    page.get_by_label("API key").fill("gw_aaaaaaaa_" + "x" * 49)
    assert "401" in send(page, "/contacts")
    page.get_by_label("API key").fill("gw_aaaaaaaa_…")  # as a list shortens it
    assert "characters that no key has" in send(page, "/contacts")


STOPPED = """form => {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.requestSubmit();
  const sent = form.dataset.sent;
  dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  return [sent, form.dataset.sent ?? null];
}"""


def test_a_form_whose_loading_was_stopped_can_be_sent_again(visit: Session) -> None:
    page = visit("keys/")
    page.get_by_label("Name").fill("stopped")
    assert page.locator("main form").last.evaluate(STOPPED) == ["1", None]


def test_what_a_stopped_call_shows_is_not_of_the_one_before(visit: Session) -> None:
    page = visit("services/crm/")
    page.route("**/lines", lambda route: route.fulfill(body='{"a":1}\n{"b":2}\n', content_type="application/x-ndjson"))
    assert "200" in send(page, "/lines")
    assert page.locator("pre[data-body]").inner_text() == '{"a":1}\n{"b":2}\n'
    page.route("**/silent", lambda _: None)
    page.get_by_label("Path").fill("/silent")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-answer]")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".status-line")).to_have_text("Stopped.")
    page.unroute_all(behavior="ignoreErrors")


def test_markup_of_a_backend_is_text(visit: Session) -> None:
    page = visit("services/site/")
    title = page.title()
    assert "200" in send(page, "/markup")
    assert "<script>" in page.locator("[data-body]").inner_text()
    assert page.locator("[data-body] *").count() == 0
    assert page.title() == title


def test_a_call_stays_within_its_service(visit: Session) -> None:
    page = visit("services/site/")
    for path in ("/../crm/contacts", "/../../../portal/keys/", "/%2e%2e/%2e%2e/%2e%2e/portal/"):
        assert "leaves the service" in send(page, path)
    assert "No answer" in send(page, "/away")


def test_a_failed_call_is_in_the_list_of_errors(visit: Session) -> None:
    page = visit("keys/")
    key = create_key(page, "fails")
    page.goto(page.url.replace("keys/", "services/crm/"))
    page.get_by_label("API key").fill(key)
    line = send(page, "/broken?password=letmein")
    assert "500" in line
    identifier = line.split("request id: ")[1].split()[0]
    page.goto(page.url.replace("services/crm/", "errors/"))
    expect(page.get_by_role("row").filter(has_text=identifier)).to_contain_text("/api/v1/crm/broken")
    assert "letmein" not in page.content()


def test_a_secret_is_copied_and_gone_when_the_page_is_left(visit: Session) -> None:
    page = visit("keys/", width=PHONE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    key = create_key(page)
    button = page.get_by_role("button", name="Copy")
    box = button.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= PHONE  # in sight, however long the key is
    button.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.get_by_role("link", name="to my keys").click()
    page.wait_for_url("**/portal/keys/")
    assert key not in page.content()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").find(key) == -1


def test_a_key_is_rotated_and_revoked_with_the_keyboard(visit: Session, site: Site) -> None:
    page = visit("keys/")
    old = create_key(page, "by keyboard")
    page.goto(f"{site.url}/portal/keys/")
    page.get_by_role("link", name="by keyboard").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Rotate").focus()
    page.keyboard.press("Enter")
    new = page.locator("#secret").inner_text()
    assert eventually(lambda: [_status(site, key) for key in (old, new)] == [200, 200])
    page.goto(f"{site.url}/portal/keys/{new.split('_')[1]}/")
    page.get_by_label("Requests with this key").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="has been revoked")).to_be_visible()
    assert eventually(lambda: [_status(site, key) for key in (old, new)] == [401, 401])


def _status(site: Site, key: str) -> int:
    return requests.get(f"{site.url}/api/v1/crm/contacts", headers={"X-API-Key": key}, timeout=30).status_code


def test_a_page_of_a_backend_has_no_rights_of_a_member(visit: Session, site: Site) -> None:
    page = visit()
    page.goto(f"{site.url}/api/v1/site/page")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    assert page.inner_text("body").startswith("start")
    assert page.evaluate("window.origin") == "null"


def test_pages_are_accessible_and_fit(
    visit: Session, screenshot: Callable[[Page, str], None], site: Site, browser: Browser
) -> None:
    page, found = visit(), list[str]()
    for path in PATHS:
        page.goto(f"{site.url}/portal/{path}")
        found += faults(page, f"portal-{path.strip('/').replace('/', '-') or 'overview'}", screenshot)
    stranger = browser.new_page()
    stranger.goto(f"{site.url}/portal/login/")
    found += faults(stranger, "portal-login", screenshot)
    stranger.close()
    assert found == []


def test_a_manager_invites_and_asks_for_a_plan(visit: Session, browser: Browser, site: Site) -> None:
    page = visit("members/")
    page.get_by_label("Email address").fill("second@acme.example")
    page.get_by_role("button", name="Create a link").click()
    link = page.locator("#link").inner_text()
    other = browser.new_page()
    other.goto(link)
    assert "Join acme" in other.inner_text("h1")
    other.close()
    page.goto(f"{site.url}/portal/plan/")
    page.get_by_label("What you need it for").fill("More of everything.")
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_text("It waits for an answer")).to_be_visible()
    staff = browser.new_page()
    staff.goto(f"{site.url}/admin/login/")
    staff.fill("[name=username]", "ada")
    staff.fill("[name=password]", PASSWORD)
    staff.press("[name=password]", "Enter")
    staff.goto(f"{site.url}/admin/routing/planrequest/")
    staff.get_by_role("link", name="acme").first.click()
    staff.fill("[name=note]", "Welcome.")
    staff.select_option("[name=decision]", "approve")
    staff.get_by_role("button", name="Save", exact=True).click()
    staff.wait_for_url("**/admin/routing/planrequest/")
    staff.close()
    assert eventually(lambda: _lists(page, site, "payroll"))
    page.goto(f"{site.url}/portal/plan/")
    expect(page.get_by_role("cell", name="Welcome.")).to_be_visible()


def _lists(page: Page, site: Site, service: str) -> bool:
    """Whether the portal has a link to the service, once it is loaded again."""
    page.goto(f"{site.url}/portal/")
    return page.get_by_role("link", name=service).count() > 0
