"""Alerts and objectives in Chromium: configured in the admin, seen on any screen, silenced and tested."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, faults, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import open_from_menu
from tests.processes import eventually

Screenshot = Callable[[Page, str], None]
CIRCUIT = "/metrics/circuit-breakers/crm/open"


def configure(page: Page) -> None:
    page.locator("[name=name]").fill("down")
    for condition in ("circuit.open", "error_rate > 5% for 5m"):
        page.get_by_role("textbox", name="On: add an entry").fill(condition)
        page.keyboard.press("Enter")
    recipient = page.get_by_role("group", name="Recipient 1")
    recipient.get_by_label("by").select_option("email")
    recipient.get_by_label("address or secret").fill("oncall@example.com")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("was added successfully")).to_be_visible()


SET_OBJECTIVES = """async () => {
  const response = await fetch("/api/config/services/crm", {
    method: "PATCH",
    headers: {
      "Content-Type": "application/merge-patch+json",
      "If-Match": "*",
      "X-CSRFToken": document.querySelector('meta[name="csrf"]').content,
    },
    body: JSON.stringify({ slo: { availability: 99.9, latency: "300ms@95" } }),
  });
  return response.status;
}"""


def add_objectives(visit: Open, gateway: Gateway) -> None:
    assert visit("/dashboard/alerts/").evaluate(SET_OBJECTIVES) == 200
    for _ in range(30):
        gateway.get("/api/v1/crm/status/503")


def shows(page: Page, text: str) -> bool:
    """Whether the page has the text, once it is reloaded."""
    page.reload()
    return page.get_by_text(text).count() > 0


def test_alerts_are_configured_seen_silenced_and_tested(visit: Open, screenshot: Screenshot, gateway: Gateway) -> None:
    page = visit("/dashboard/alerts/")
    expect(page.get_by_text("No alerts are configured.")).to_be_visible()
    open_since_before = page
    configure(visit("/admin/routing/alertrule/add/"))
    add_objectives(visit, gateway)
    body = {"ttl": 600, "reason": "maintenance of <crm>"}
    opened = gateway.session.post(f"{gateway.url}{CIRCUIT}", json=body, headers={"X-API-Key": gateway.key}, timeout=30)
    assert opened.status_code == 200, opened.text
    summary = open_since_before.get_by_text("the circuit was forced open: maintenance of <crm>")
    expect(summary.first).to_be_visible(timeout=60_000)
    expect(open_since_before.locator("#announcer")).to_contain_text("Firing: ")
    for width in (PHONE, WIDE):
        page = visit("/dashboard/", width=width)
        open_from_menu(page, "Alerts")
        expect(page.get_by_role("heading", level=1)).to_have_text("Alerts")
        assert list(faults(page, "alerts", screenshot, width)) == []
        page.goto(f"{gateway.url}/dashboard/services/crm/")
        expect(page.get_by_role("heading", name="Objectives")).to_be_visible()
        assert list(faults(page, "objectives", screenshot, width)) == []
    expect(page.get_by_role("row", name="99.9% availability")).to_contain_text("exceeded")

    page = visit("/dashboard/alerts/")
    page.get_by_role("button", name="Send a test of down").click()
    expect(page.locator("#toasts")).to_contain_text("email:oncall@example.com: SMTP_URL is not set")
    assert eventually(lambda: shows(page, "SMTP_URL is not set"))
    page.get_by_role("button", name="Silence…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Service").select_option("crm")
    dialog.get_by_label("Reason").fill("known")
    assert violations(page) == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("row", name="Every alert, crm")).to_contain_text("known")
    expect(page.get_by_role("row", name="crm the circuit was forced open")).to_contain_text("Silenced")
    page.get_by_role("button", name="End the silence of Every alert, crm").click()
    expect(page.get_by_role("heading", name="Silences")).to_have_count(0)
