"""The dashboard in Chromium, on a phone and on a wide screen, with a real gateway."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.accessibility import PHONE, WIDE, faults, overflows
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import PASSWORD

SERVICES = ["aiRouting", "calendarIntelligence", "crm", "gmailIntelligence", "slackIntelligence"]
WAIT_FOR_OPEN = """() => { window.opened = new Promise((resolve, reject) => {
  const pill = document.querySelector('[data-service="crm"] .pill');
  const look = () => pill.textContent === "Open" && resolve(Date.now() / 1000);
  new MutationObserver(look).observe(pill, {childList: true, characterData: true, subtree: true});
  setTimeout(() => reject(new Error("it did not open")), 20000);
  look();
}); }"""
"""Resolves to the time at which the row of `crm` shows Open, by the browser's clock, which is this machine's."""

Screenshot = Callable[[Page, str], None]


@pytest.fixture(autouse=True)
def close_circuits(gateway: Gateway) -> Iterator[None]:
    """Closes all circuits after each test."""
    yield
    reset = f"{gateway.url}/metrics/circuit-breakers/reset"
    assert gateway.session.post(reset, headers={"X-API-Key": gateway.key}, timeout=30).status_code == 200


def state_of(page: Page, service: str) -> Any:
    return page.locator(f'[data-service="{service}"] .pill')


def expect_live(page: Page) -> None:
    expect(page.locator("#feed")).to_have_text("Live", timeout=15_000)


def fail_five_times(gateway: Gateway) -> None:
    for _ in range(5):
        assert gateway.get("/api/v1/crm/status/500").status_code == 500


def expect_toast(page: Page, text: str) -> None:
    expect(page.locator("#toasts")).to_contain_text(text, timeout=15_000)


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_every_service_is_listed_live_on_any_screen(visit: Open, screenshot: Screenshot, width: int) -> None:
    page = visit(width=width)
    expect_live(page)
    assert page.locator("#services tr").evaluate_all("rows => rows.map((row) => row.dataset.service)") == SERVICES
    expect(page.locator("[data-figure=open] dd").first).to_have_text("0")
    assert not overflows(page)
    screenshot(page, f"overview-{width}")


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_an_opening_circuit_is_shown_within_two_seconds_and_can_be_reset(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    page = visit(width=width)
    expect_live(page)
    expect(state_of(page, "crm")).to_have_text("Closed")
    waits: list[float] = []
    while not waits or (min(waits) > 2 and len(waits) < 3):  # a busy machine may be slow once
        page.evaluate(WAIT_FOR_OPEN)
        fail_five_times(gateway)
        failed_at = time.time()
        waits.append(page.evaluate("window.opened") - failed_at)
        expect(page.locator("#incidents")).to_contain_text("crm: the circuit is open")
        screenshot(page, f"open-{width}")
        page.get_by_role("button", name="Reset crm").click()
        expect(state_of(page, "crm")).to_have_text("Closed", timeout=15_000)
    assert min(waits) <= 2
    expect_toast(page, "The circuit of crm is closed.")
    expect(page.locator("#incidents")).to_contain_text("Recovered")
    expect(page.locator("#announcer")).to_contain_text("The circuit of crm is now closed.")


def test_the_numbers_are_updated_live(visit: Open, gateway: Gateway) -> None:
    page = visit()
    expect_live(page)
    total = page.locator('[data-service="slackIntelligence"] [data-cell="total"]')
    before = int(total.inner_text().split()[0].replace(",", ""))
    for _ in range(7):
        gateway.get("/api/v1/slackIntelligence/channels")
    expect(total).to_have_text(f"{before + 7} requests in total", timeout=15_000)


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_tag_is_counted_and_invalidated(visit: Open, screenshot: Screenshot, gateway: Gateway, width: int) -> None:
    gateway.get("/api/v1/crm/contacts")
    assert gateway.get("/api/v1/crm/contacts").headers["X-Cache"] == "HIT"
    page = visit("/dashboard/services/crm/", width=width)
    expect_live(page)
    page.get_by_role("button", name="Invalidate crm:contacts").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Count entries").click()
    expect(dialog).to_contain_text("1 entry would be invalidated.")
    screenshot(page, f"invalidate-{width}")
    dialog.get_by_role("button", name="Invalidate", exact=True).click()
    expect_toast(page, "1 entry with tag crm:contacts invalidated.")
    expect(dialog).to_have_count(0)
    assert gateway.get("/api/v1/crm/contacts").headers["X-Cache"] == "MISS"
    expect(page.locator("#operations")).to_contain_text("cache.invalidate", timeout=15_000)
    assert not overflows(page)


def test_a_circuit_is_forced_open_for_a_time_with_a_reason(visit: Open, gateway: Gateway) -> None:
    page = visit("/dashboard/services/aiRouting/")
    expect_live(page)
    page.get_by_role("button", name="Force open").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("<b>database maintenance</b>")
    dialog.get_by_role("button", name="Force open").click()
    expect(page.locator("#state")).to_have_text("Forced open", timeout=15_000)
    expect(page.locator("#incidents")).to_contain_text("<b>database maintenance</b>")  # as text, not as markup
    assert gateway.get("/api/v1/aiRouting/models").status_code == 503
    expect(page.locator("#transitions")).to_contain_text("<b>database maintenance</b>", timeout=15_000)
    page.get_by_role("button", name="Reset circuit").click()
    expect(page.locator("#state")).to_have_text("Closed", timeout=15_000)


def test_an_operation_that_somebody_else_has_undone_by_then_is_not_said_to_hold(visit: Open) -> None:
    page = visit("/dashboard/services/aiRouting/")
    expect_live(page)
    page.route(
        "**/metrics/circuit-breakers/aiRouting/open",
        lambda route: route.fulfill(json={"service": "aiRouting", "state": "CLOSED"}),
    )
    page.get_by_role("button", name="Force open").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("maintenance")
    dialog.get_by_role("button", name="Force open").click()
    expect_toast(page, "The circuit of aiRouting has been changed again since.")


def test_flushing_requires_typing_the_services_name_and_works_by_keyboard(visit: Open, gateway: Gateway) -> None:
    gateway.get("/api/v1/slackIntelligence/channels")
    page = visit("/dashboard/services/slackIntelligence/")
    expect_live(page)
    opener = page.locator('[data-do="flush"]')
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Flush")
    expect(go).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("slackIntelligence")
    expect(go).to_be_enabled()
    page.keyboard.press("Enter")
    expect_toast(page, "flushed.")
    assert gateway.get("/api/v1/slackIntelligence/channels").headers["X-Cache"] == "MISS"


def test_warming_shows_the_number_of_entries_and_then_the_result(visit: Open, gateway: Gateway) -> None:
    for _ in range(2):
        gateway.get("/api/v1/crm/contacts")
    page = visit()
    expect_live(page)
    page.get_by_role("button", name="Warm cache").click()
    expect_toast(page, "Warming ")
    expect_toast(page, " warmed.")


def test_a_disconnection_is_shown_and_the_page_reconnects(
    visit: Open, screenshot: Screenshot, gateway: Gateway
) -> None:
    page = visit()
    expect_live(page)
    page.context.set_offline(True)
    expect(page.locator("#feed")).to_have_text("Disconnected, retrying", timeout=15_000)
    expect(page.locator("body")).to_have_attribute("data-stale", "")
    page.get_by_role("button", name="Warm cache").click()
    expect_toast(page, "Failed: The gateway cannot be reached.")
    screenshot(page, "cut")
    page.context.set_offline(False)
    expect_live(page)
    expect(page.locator("body")).not_to_have_attribute("data-stale", "")


def test_an_update_of_the_gateway_is_said_once(visit: Open, screenshot: Screenshot, gateway: Gateway) -> None:
    page = visit("/admin/explain/", width=PHONE)
    builds = ["", "", "new", "new", ""]  # of two workers, for a while

    def relay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            build = builds.pop(0) if builds else "new"
            socket.send(str(message).replace('"build":""', f'"build":"{build}"'))

        server.on_message(pass_on)

    page.route_web_socket("**/ws/dashboard/", relay)
    page.goto(f"{gateway.url}/dashboard/")
    expect(page.locator("#updated")).to_contain_text("has been updated", timeout=15_000)
    expect(page.locator("#since")).to_contain_text("All workers")
    expect(page.locator("#updated")).to_have_count(1)
    assert list(faults(page, "updated", screenshot)) == []
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#updated")).to_have_count(0)


def test_the_page_polls_while_the_socket_is_silent(visit: Open, screenshot: Screenshot, gateway: Gateway) -> None:
    page = visit("/admin/explain/")
    muted = {"now": False}

    def relay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: None if muted["now"] else socket.send(message))

    page.route_web_socket("**/ws/dashboard/", relay)
    page.goto(f"{gateway.url}/dashboard/")
    expect_live(page)
    muted["now"] = True
    expect(page.locator("#feed")).to_have_text("Disconnected, polling", timeout=15_000)
    total = page.locator('[data-service="gmailIntelligence"] [data-cell="total"]')
    before = total.inner_text()
    gateway.get("/api/v1/gmailIntelligence/mailboxes/ada/messages")
    expect(total).not_to_have_text(before, timeout=15_000)
    screenshot(page, "polling")
    muted["now"] = False
    expect_live(page)


def test_the_page_polls_where_the_browser_opens_no_sockets(visit: Open, gateway: Gateway) -> None:
    page = visit("/admin/explain/")
    page.add_init_script("WebSocket = class { constructor() { throw new DOMException('blocked', 'SecurityError'); } };")
    page.goto(f"{gateway.url}/dashboard/")
    expect(page.locator("#feed")).to_have_text("Disconnected, polling", timeout=15_000)
    expect(page.locator('[data-service="crm"]')).to_be_visible()


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_axe_finds_nothing_serious(visit: Open, screenshot: Screenshot, gateway: Gateway, width: int) -> None:
    gateway.get("/api/v1/crm/contacts")
    fail_five_times(gateway)
    for path, name in (("/dashboard/", "overview"), ("/dashboard/services/crm/", "service")):
        page = visit(path, width=width)
        expect_live(page)
        expect(page.locator("#charts path").first).to_be_attached()
        assert list(faults(page, name, screenshot, width)) == []
        page.locator('[data-do^="flush"]').click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert list(faults(page, f"{name}-flush", screenshot, width)) == []


def test_the_chosen_theme_persists(visit: Open) -> None:
    page = visit(scheme="light")
    toggle = page.locator("[data-theme-toggle]")
    expect(toggle).to_have_text("Theme: system")
    toggle.click()
    toggle.click()
    expect(toggle).to_have_text("Theme: dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_chart_can_be_read_by_keyboard_and_as_a_table(visit: Open, gateway: Gateway) -> None:
    gateway.get("/api/v1/crm/contacts")
    page = visit("/dashboard/services/crm/")
    expect_live(page)
    requests, latency = (page.locator("figure.chart").nth(number) for number in (0, 1))
    requests.locator(".plot").focus()
    page.keyboard.press("End")
    expect(requests.locator(".readout")).to_contain_text("/min · so far")
    expect(latency.locator(".readout")).to_contain_text("p95 ")  # one crosshair for all charts
    requests.get_by_text("As a table").click()
    expect(requests.get_by_role("columnheader", name="2xx")).to_be_visible()
    with page.expect_download() as download:
        requests.get_by_role("link", name="Requests as CSV").click()
    assert download.value.suggested_filename == "crm-requests.csv"


def test_a_range_is_zoomed_compared_and_chosen(visit: Open, screenshot: Screenshot, gateway: Gateway) -> None:
    gateway.get("/api/v1/crm/contacts")
    page = visit("/dashboard/services/crm/")
    expect_live(page)
    plot = page.locator("figure.chart .plot").first
    expect(plot.locator("path").first).to_be_attached()
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 90, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Zoom out")).to_be_visible()
    assert "from=" in page.url
    page.get_by_role("button", name="Zoom out").click()
    page.get_by_role("button", name="24 h").click()
    page.get_by_label("Compare with the week before").check()
    expect(page.locator("figure.chart").first).to_contain_text("week before")
    expect(page.locator("figure.chart").last).not_to_contain_text("No data in this period")  # but a rate of 0 %
    page.reload()
    expect(page.get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Compare with the week before")).to_be_checked()
    page.get_by_text("Own range").click()
    page.get_by_label("From", exact=True).fill("2026-01-02T00:00")
    page.get_by_label("To", exact=True).fill("2026-01-01T00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("The beginning must be before the end.")).to_be_visible()
    page.get_by_label("To", exact=True).fill("2026-01-04T00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("figure.chart").first).to_contain_text("No data in this period")
    screenshot(page, "history-own-range")


def test_an_ended_session_leads_to_the_login(visit: Open) -> None:
    page = visit()
    expect_live(page)
    page.get_by_role("button", name="Flush…").click()
    written = page.get_by_role("dialog").get_by_role("textbox")
    written.fill("every")
    page.context.clear_cookies()
    page.context.set_offline(True)
    with page.expect_response("**/snapshot.json"):
        page.context.set_offline(False)
    expect(page.locator("#feed")).to_have_text("Disconnected, retrying")
    expect(written).to_have_value("every")  # until the dialog is closed
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/admin/login/?next=/dashboard/")


def test_an_operation_succeeds_after_a_new_login_in_another_tab(
    browser: Browser, gateway: Gateway, logged_in: Any
) -> None:
    context = browser.new_context(storage_state=logged_in)
    page, other = context.new_page(), context.new_page()
    page.goto(f"{gateway.url}/dashboard/")
    expect_live(page)
    context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Warm cache").click()
    expect_toast(page, "Your session has ended.")
    other.goto(page.url)
    other.fill("[name=username]", "ada")
    other.fill("[name=password]", PASSWORD)
    other.press("[name=password]", "Enter")
    other.wait_for_url("**/dashboard/")
    page.get_by_role("button", name="Warm cache").click()
    expect_toast(page, "arm")  # the login has replaced the token that the page came with
    context.close()


def test_a_history_that_cannot_be_read_is_said_to_be(visit: Open) -> None:
    page = visit()
    expect_live(page)
    page.route("**/history.json?**", lambda route: route.abort())
    page.get_by_role("button", name="24 h").click()
    notice = page.get_by_text("The history cannot be read.")
    expect(notice).to_be_visible()
    page.unroute("**/history.json?**")
    page.get_by_role("button", name="6 h").click()
    expect(notice).to_be_hidden()


def test_explain_is_a_page_of_the_admin(visit: Open, screenshot: Screenshot) -> None:
    page = visit("/admin/explain/?method=GET&path=/api/v1/crm/contacts/7&caller=firebase:ada")
    expect(page.get_by_role("status")).to_contain_text("The backend is called")
    expect(page.get_by_role("cell", name="matches: the first route that matches")).to_be_visible()
    screenshot(page, "explain")


TRANSLATE = """async () => {
  const { src } = document.querySelector('script[src*="dashboard/explain"]');
  const { sentence } = await import(src.replace(/explain[^/]*$/, "sentences.js"));
  return [
    "63% of responses are errors (over 5 min)",
    "the circuit is open: 5 failures within 0.5 s",
    "2 of 3 targets without calls: a:1 down",
    "stale responses up to 2592000 s old, or else 503",
    "what nobody knows",
  ].map(sentence);
}"""


def test_sentences_of_the_gateway_are_in_the_language_of_the_page(visit: Open) -> None:
    """Explain has no widgets of the admin: a script that expects theirs would fail there."""
    page = visit().context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_extra_http_headers({"Accept-Language": "de"})
    page.goto(f"{visit().url.split('/dashboard')[0]}/admin/explain/?path=/api/v1/crm/contacts/7&caller=firebase:ada")
    expect(page.get_by_role("status")).to_contain_text("Das Backend wird aufgerufen")
    expect(page.get_by_role("cell", name="passt: die erste Route, die passt")).to_be_visible()
    assert page.evaluate(TRANSLATE) == [
        "63\u00a0% der Antworten sind Fehler (über 5 min)",
        "der Circuit ist offen: 5 Fehlschläge innerhalb von 0,5 s",
        "2 von 3 Zielen ohne Aufrufe: a:1 down",
        "veraltete Antworten, bis zu 2.592.000 s alt, sonst 503",
        "what nobody knows",
    ]
    assert errors == []
    page.close()
