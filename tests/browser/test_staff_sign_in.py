"""Sign-in with the provider, second factors and sessions in Chromium, behind nginx with TLS."""

import base64
import hmac
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.accessibility import overflows, violations
from tests.browser.pages import OPEN_SERVICE, PASSWORD, running_gateway
from tests.nginx import nginx
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider, serving_openid
from tests.ports import free_port

FIELDS = """
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;"""
SIZES: list[tuple[str, int]] = [("light", 1280), ("dark", 1280), ("light", 390)]


class Site(NamedTuple):
    url: str
    provider: OpenIDProvider
    faults: list[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        provider = stack.enter_context(serving_openid(OpenIDProvider()))
        provider.consent = True
        settings = {
            "DEBUG": "on",
            "TRUSTED_PROXIES": "127.0.0.0/8",
            "STAFF_OIDC_ISSUER": provider.issuer,
            "STAFF_OIDC_CLIENT_ID": CLIENT_ID,
            "STAFF_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "STAFF_OIDC_NAME": "Acme",
            "STAFF_OIDC_ROLES": "ops=Operator",
        }
        configuration = OPEN_SERVICE.format(backend=free_port())
        gateway, _ = stack.enter_context(running_gateway(tmp_path_factory.mktemp("gateway"), configuration, **settings))
        port = free_port()
        stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), port, gateway, FIELDS))
        yield Site(f"https://localhost:{port}", provider, [])


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    opened = browser.new_context(ignore_https_errors=True)
    site.faults.clear()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and message.location["url"].startswith(site.url):
            site.faults.append(message.text)

    opened.on("console", listen)
    yield opened
    opened.close()


def code_of(key: str, periods: int = 0) -> str:
    digest = hmac.digest(base64.b32decode(key), struct.pack(">Q", int(time.time()) // 30 + periods), "sha1")
    (value,) = struct.unpack(">I", digest[digest[-1] & 15 :][:4])
    return f"{(value & 0x7FFFFFFF) % 1_000_000:06d}"


def look(page: Page, name: str, screenshot: Any) -> None:
    """The page is right for axe, and wide enough, in each scheme and size."""
    for scheme, width in SIZES:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of two words
        assert violations(page) == [], (name, scheme, width)
        assert not overflows(page), (name, width)
        screenshot(page, f"sign-in-{name}-{scheme}-{width}")


def test_the_whole_way_through_the_provider(site: Site, context: BrowserContext, screenshot: Any) -> None:
    page = context.new_page()
    page.goto(f"{site.url}/dashboard/")
    expect(page).to_have_url(f"{site.url}/accounts/login/?next=%2Fdashboard%2F")
    look(page, "login", screenshot)
    page.get_by_role("button", name="Sign in with Acme").click()
    page.get_by_role("link", name="Agree").click()
    page.wait_for_url(f"{site.url}/dashboard/")
    page.wait_for_selector("text=open")
    page.goto(f"{site.url}/accounts/")
    expect(page.get_by_role("heading", name="ada.l")).to_be_visible()
    look(page, "account", screenshot)
    page.get_by_role("link", name="Show sessions").click()
    expect(page.get_by_text("This one")).to_be_visible()
    look(page, "sessions", screenshot)

    page.goto(f"{site.url}/admin/")
    with page.expect_navigation(url=f"{site.provider.issuer}/logout?*"):
        page.evaluate("document.querySelector('form[action$=\"/logout/\"]').submit()")
    expect(page.get_by_role("heading", name="Signed out of the provider")).to_be_visible()
    page.goto(f"{site.url}/dashboard/")
    assert "/accounts/login/" in page.url
    assert site.faults == []


def test_a_refusal_is_a_clear_page(site: Site, context: BrowserContext, screenshot: Any) -> None:
    page, person = context.new_page(), site.provider.person
    site.provider.person = {"sub": "guest", "preferred_username": "guest", "groups": ["guests"]}
    page.goto(f"{site.url}/accounts/login/")
    page.get_by_role("button", name="Sign in with Acme").click()
    page.get_by_role("link", name="Agree").click()
    expect(page.get_by_role("heading", name="You may not sign in")).to_be_visible()
    look(page, "refused", screenshot)
    site.provider.person = person


def test_a_second_factor_by_keyboard(site: Site, context: BrowserContext, screenshot: Any) -> None:
    page = context.new_page()
    log_in(page, site)
    page.wait_for_url(f"{site.url}/admin/")
    page.goto(f"{site.url}/accounts/second-factor/set-up/")
    look(page, "confirm", screenshot)
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    page.wait_for_function("document.querySelector('img').naturalWidth > 0")
    look(page, "set-up", screenshot)
    key = page.locator("code").first.inner_text()
    page.get_by_label("Code").fill(code_of(key))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    assert page.get_by_role("list", name="Unused recovery codes").get_by_role("listitem").count() == 10
    look(page, "codes", screenshot)

    other = context.browser.new_context(ignore_https_errors=True)  # type: ignore[union-attr] # it has one
    page = other.new_page()
    log_in(page, site)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    look(page, "factor", screenshot)
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the present code")
    look(page, "wrong", screenshot)
    page.get_by_label("Code").fill(code_of(key, 1))  # the present one was used to set it up
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/admin/")
    page.goto(f"{site.url}/admin/usersessions/usersession/")
    expect(page.get_by_role("link", name="ada").first).to_be_visible()
    page.screenshot(path="test-artefacts/sign-in-admin-sessions.png")
    other.close()
    assert site.faults == []


def log_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/admin/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
