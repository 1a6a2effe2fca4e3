"""The dashboard's events page in Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.accessibility import PHONE, WIDE, faults, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import open_from_menu

Screenshot = Callable[[Page, str], None]
PAGE = "/dashboard/events/"


def expect_live(page: Page) -> None:
    expect(page.locator("#feed")).to_have_text("Live", timeout=15_000)


def subscribe(page: Page, topic: str) -> None:
    page.get_by_role("combobox").fill(topic)
    page.keyboard.press("Enter")


def topics(page: Page) -> Any:
    return page.locator("#topics code")


def event_data(page: Page) -> Any:
    """The data of the listed events, newest first."""
    return page.locator("#events [data-id] .data")


@pytest.fixture
def events_page(visit: Open) -> Page:
    page = visit(PAGE)
    expect_live(page)
    subscribe(page, "browser.news")
    expect(topics(page).get_by_text("browser.news")).to_be_visible()
    return page


def test_it_is_in_the_navigation_and_subscribes_to_every_service(visit: Open) -> None:
    page = visit()
    open_from_menu(page, "Events")
    expect_live(page)
    expect(page.locator(".nav a", has_text="Events")).to_have_attribute("aria-current", "page")
    expect(topics(page)).to_have_count(5, timeout=15_000)
    expect(topics(page).first).to_have_text("service:aiRouting")


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_published_event_is_shown_on_any_screen(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    page = visit(PAGE, width=width)
    expect_live(page)
    subscribe(page, "browser.news")
    expect(topics(page).get_by_text("browser.news")).to_be_visible()
    gateway.publish("browser.news", {"markup": "<b>text</b>", "long": "x" * 300})
    reset = f"{gateway.url}/metrics/circuit-breakers/crm"
    headers = {"X-API-Key": gateway.key}
    gateway.session.post(f"{reset}/open", json={"ttl": 60, "reason": "a test"}, headers=headers, timeout=30)
    gateway.session.post(f"{reset}/reset", json={}, headers=headers, timeout=30)
    event = page.locator("#events li", has_text="browser.news").first
    expect(event).to_contain_text("test", timeout=15_000)
    expect(event).to_contain_text('"markup":"<b>text</b>"')
    expect(page.locator("#events li", has_text="service:crm").first).to_contain_text("circuit", timeout=15_000)
    assert list(faults(page, "events", screenshot, width)) == []


def test_topics_are_added_and_removed_by_keyboard(events_page: Page, gateway: Gateway) -> None:
    remove = events_page.get_by_role("button", name="Unsubscribe from browser.news")
    remove.focus()
    events_page.keyboard.press("Enter")
    expect(topics(events_page).get_by_text("browser.news")).to_have_count(0)
    expect(events_page.get_by_role("combobox")).to_be_focused()
    events_page.keyboard.type("browser.other")
    events_page.keyboard.press("Enter")
    expect(topics(events_page).get_by_text("browser.other")).to_be_visible()
    gateway.publish("browser.news", "not for this page")
    gateway.publish("browser.other", "for this page")
    expect(event_data(events_page)).to_have_text(['"for this page"'], timeout=15_000)


def test_a_refused_topic_is_shown_as_an_error(events_page: Page) -> None:
    subscribe(events_page, "caller:key:somebody")
    expect(events_page.get_by_role("alert")).to_contain_text("caller:key:somebody: this caller may not")
    expect(topics(events_page).get_by_text("caller:key:somebody")).to_have_count(0)
    expect_live(events_page)


def test_events_are_queued_while_paused(events_page: Page, gateway: Gateway) -> None:
    events_page.get_by_role("button", name="Pause").click()
    gateway.publish("browser.news", 1)
    expect(events_page.locator("#count")).to_contain_text("paused, 1 queued", timeout=15_000)
    expect(event_data(events_page)).to_have_count(0)
    events_page.get_by_role("button", name="Resume").click()
    expect(event_data(events_page)).to_have_text(["1"])
    events_page.get_by_role("button", name="Clear").click()
    expect(event_data(events_page)).to_have_count(0)


def test_a_disconnection_is_shown_and_missed_events_are_delivered_once_after_it(
    events_page: Page, gateway: Gateway, screenshot: Screenshot
) -> None:
    gateway.publish("browser.news", "before")
    expect(event_data(events_page)).to_have_text(['"before"'], timeout=15_000)
    events_page.context.set_offline(True)
    expect(events_page.locator("#feed")).to_have_text("Disconnected, retrying", timeout=15_000)
    expect(events_page.locator("#announcer")).to_have_text("Disconnected.")
    gateway.publish("browser.news", "meanwhile")
    events_page.context.set_offline(False)
    expect_live(events_page)
    gateway.publish("browser.news", "after")
    expect(event_data(events_page)).to_have_text(['"after"', '"meanwhile"', '"before"'], timeout=15_000)
    screenshot(events_page, "events-cut")
    assert violations(events_page) == []


def test_a_gap_is_shown(visit: Open, gateway: Gateway) -> None:
    """Subscribes with a last event id that the gateway no longer has."""
    page = visit("/admin/explain/")

    def relay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(
            lambda message: server.send(str(message).replace('"subscribe",', '"subscribe","last_id":"1-0",'))
        )

    page.route_web_socket("**/ws/dashboard/events/", relay)
    page.goto(f"{gateway.url}{PAGE}")
    expect(page.locator("#events .note")).to_contain_text("Gap: some events were missed", timeout=15_000)
    expect(page.locator("#announcer")).to_contain_text("Gap: some events were missed")


def test_a_logged_out_user_is_redirected_to_the_login(visit: Open, gateway: Gateway) -> None:
    page = visit(PAGE)
    expect_live(page)
    page.context.clear_cookies()
    page.goto(f"{gateway.url}{PAGE}")
    assert "/admin/login/?next=/dashboard/events/" in page.url


FOLLOW = """topic => {
  window.received = [];
  window.source = new EventSource(`/events?topics=${topic}`);
  window.source.onmessage = ({ data }) => window.received.push(JSON.parse(data).data);
  return new Promise((resolve) => { window.source.onopen = () => resolve(true); });
}"""


def test_the_browsers_event_source_receives_events(browser: Browser, gateway: Gateway) -> None:
    """The credential is added outside the page, as a reverse proxy would: EventSource cannot send headers."""
    context = browser.new_context(extra_http_headers={"X-API-Key": gateway.key})
    page = context.new_page()
    page.goto(f"{gateway.url}/health")
    page.evaluate(FOLLOW, "browser.source")
    for number in range(3):
        gateway.publish("browser.source", number)
    page.wait_for_function("window.received.length === 3")
    assert page.evaluate("window.received") == [0, 1, 2]
    context.close()
