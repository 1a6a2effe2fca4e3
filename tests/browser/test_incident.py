"""An incident in Chromium: a change, then the backend stops; somebody on call finds out why, and rolls back."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, faults, overflows, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import reply, running_gateway, web_server
from tests.browser.test_dashboard import Screenshot, expect_live
from tests.processes import eventually

CONFIGURATION = """
version: 1
services:
  crm:
    targets: [{url: "http://127.0.0.1:%d"}]
    auth: optional
    cache: off
    retries: {attempts: 1}
    breaker: {failure_threshold: 5, open_for: 12s, success_threshold: 1}
  mail:
    targets: [{url: "http://127.0.0.1:%d/missing"}]
    auth: none
    cache: off
  a%s:
    targets: [{url: "http://127.0.0.1:%d"}]
    auth: none
"""
LONGEST = 63
CHANGE = """async (port) => {
  const response = await fetch("/api/config/services/crm", {
    method: "PATCH",
    headers: {
      "X-CSRFToken": document.querySelector('meta[name="csrf"]').content,
      "Content-Type": "application/merge-patch+json",
    },
    body: JSON.stringify({targets: [{url: `http://127.0.0.1:${port}`}]}),
  });
  return response.status;
}"""


def respond(handler: BaseHTTPRequestHandler) -> None:
    is_missing = handler.path.startswith("/missing")
    reply(handler, 404 if is_missing else 200, b"{}", Content_Type="application/json")


def respond_once(handler: BaseHTTPRequestHandler) -> None:
    """Without connections that outlast the server."""
    reply(handler, 200, b"{}", Content_Type="application/json", Connection="close", X_New="1")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a backend that works."""
    with web_server(respond) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Gateway]:
    with running_gateway(
        tmp_path_factory.mktemp("incident"), CONFIGURATION % (port, port, "b" * (LONGEST - 1), port)
    ) as (own, key):
        yield Gateway(f"http://127.0.0.1:{own}", key)


def wait_for_change(gateway: Gateway) -> None:
    """Until the new backend is called."""
    assert eventually(lambda: "X-New" in gateway.get("/api/v1/crm/contacts").headers), "the change has no effect"


def card(page: Page) -> Any:
    return page.get_by_role("article").filter(has=page.get_by_role("link", name="crm", exact=True))


def test_somebody_on_call_finds_the_cause_and_rolls_the_change_back_with_two_clicks(
    visit: Open, screenshot: Screenshot, gateway: Gateway, port: int
) -> None:
    page = visit()
    expect_live(page)
    with web_server(respond_once) as other:
        assert page.evaluate(CHANGE, other) == 200
        wait_for_change(gateway)
    for _ in range(12):
        assert gateway.get("/api/v1/crm/contacts").status_code in (502, 503)
    shown = card(page)
    expect(shown).to_contain_text("the circuit is open", timeout=15_000)
    expect(shown).to_contain_text(f"connection refused by 127.0.0.1:{other}", timeout=15_000)
    expect(shown).to_contain_text("browser (key:")
    expect(shown).to_contain_text("changed crm by staff:ada")
    expect(shown).to_contain_text(f"http://127.0.0.1:{port}")
    expect(shown).to_contain_text("503 circuit_open")
    expect(shown).to_contain_text("since ")
    other_page = visit(width=PHONE)
    expect(card(other_page)).to_contain_text("connection refused by", timeout=15_000)
    assert list(faults(other_page, "incident", screenshot)) == []
    other_page.close()
    propose_to_roll_back(visit)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the new backend is down")
    screenshot(page, "incident-roll-back")
    assert violations(page) == []
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.locator("#toasts")).to_contain_text("Rolled back. Changed: crm.", timeout=15_000)
    wait_for_recovery(page, gateway)
    expect(page.locator('[data-service="crm"] .pill')).to_have_text("Closed", timeout=15_000)
    # With many requests, their counts show errors until the minute is over.
    expect(shown.locator(".pill")).to_have_text(re.compile("Recovered|Recovering"), timeout=15_000)
    expect(shown.get_by_role("button", name="Reset crm")).to_have_count(0, timeout=15_000)
    screenshot(page, "incident-recovered")


RENDER_AGAIN = """async () => {
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const address = loaded.find((name) => /incident[^/]*\\.js/.test(name));
  const { IncidentCard } = await import(address);
  let failed = 0;
  const call = { at: 1e9, method: "GET", path: "/a", status: 502, cause: "x" };
  window.fetch = async () => Response.json({
    now: 1e9, incident: { since: 1e9 - 60, signals: [{ kind: "circuit" }] }, names: {}, traffic_share: 1,
    meanwhile: "503", changes: [],
    evidence: {
      causes: [{ name: "502 from /a", count: ++failed, share: 1 }],
      requests: failed, failed, callers: 1, top_callers: [], answers: [],
    },
    failures: Array.from({ length: 20 }, (_, index) => ({ ...call, request_id: `id-${failed + index}` })),
  });
  const card = new IncidentCard("crm", { isOpen: false });
  card.flip();
  document.body.append(card.node);
  const within = (selector) => card.node.querySelector(selector);
  await card.load();
  const first = within(".cause");
  getSelection().selectAllChildren(first);
  await card.load();
  const isCopied = first.isConnected && getSelection().toString() === "502 from /a";
  getSelection().removeAllRanges();
  within(".failures").open = true;
  within(".failure-list").scrollTop = 40;
  const link = [...card.node.querySelectorAll(".failure-list a")].at(-1);
  link.focus({ preventScroll: true });
  await card.load();
  const kept = {
    text: document.activeElement.textContent, id: link.textContent,
    isOld: link.isConnected, scrolled: within(".failure-list").scrollTop,
  };
  within(".failure-list a").focus({ preventScroll: true });
  await card.load();
  const left = document.activeElement.className;
  card.remove();
  return { isCopied, left, ...kept };
}"""


def test_what_somebody_copies_or_reads_in_a_card_is_kept_as_it_is_updated(visit: Open) -> None:
    page = visit()
    expect_live(page)
    found = page.evaluate(RENDER_AGAIN)
    assert found["isCopied"]
    assert not found["isOld"], "nothing was rendered again"
    assert found["text"] == found["id"]
    assert found["scrolled"] == 40
    assert "failure-list" in found["left"]  # its row is no longer among the latest


CARD = """async () => {
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const { IncidentCard } = await import(loaded.find((name) => /incident[^/]*\\.js/.test(name)));
  const { fetch } = window;
  let failed = 0;
  window.fetch = async (address, options) => {
    if (!String(address).includes("/shop/")) return fetch(address, options);
    if (String(address).endsWith("/probe")) {
      return new Promise((resolve) => { window.finishProbe = () => resolve(Response.json({ targets: [] })); });
    }
    return Response.json({
      now: 1e9, incident: { since: 1e9 - 60, signals: [{ kind: "circuit" }] }, names: {}, traffic_share: 1,
      meanwhile: "503", changes: [], failures: [],
      evidence: { causes: [], requests: ++failed, failed, callers: 1, top_callers: [], answers: [] },
    });
  };
  window.card = new IncidentCard("shop", { isOpen: true });
  document.querySelector("#content").append(card.node);
  await card.load();
}"""


def test_the_keyboard_stays_where_it_is_as_a_card_is_updated(visit: Open) -> None:
    page = visit("/dashboard/services/crm/")
    expect_live(page)
    page.evaluate(CARD)
    shown = page.locator("article").last
    disable, probe = (shown.get_by_role("button", name=name) for name in ("Disable circuit…", "Probe targets"))
    disable.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Duration")).to_be_focused()
    page.evaluate("card.load()")  # makes the button again, behind the dialog
    page.keyboard.press("Escape")
    expect(disable).to_be_focused()
    probe.press("Enter")
    expect(probe).to_be_disabled()
    expect(probe).to_be_focused()
    page.evaluate("finishProbe()")
    expect(probe).to_be_enabled()
    expect(probe).to_be_focused()
    page.evaluate("card.remove()")
    expect(page.locator("#content")).to_be_focused()


def propose_to_roll_back(visit: Open) -> None:
    """Where changes need approval: the API's response says which proposal the change has become."""
    page = visit().context.new_page()
    page.add_init_script(
        "document.addEventListener('readystatechange', () => { document.body.dataset.proposals = '/proposals/'; })"
    )
    report = {"proposal": 7, "state": "waiting", "summary": "changed crm"}
    page.route("**/api/config/history/*/restore", lambda route: route.fulfill(status=202, json=report))
    page.goto(visit().url)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("once another person has approved it")
    dialog.get_by_label("Reason").fill("the new backend is down")
    dialog.get_by_role("button", name="Propose to roll back").click()
    toasts = page.locator("#toasts")
    expect(toasts).to_contain_text("it waits for approval as proposal 7.")
    assert toasts.get_by_role("link").get_attribute("href") == "/proposals/7/change/"
    expect(dialog).to_have_count(0)
    page.close()


def wait_for_recovery(page: Page, gateway: Gateway) -> None:
    """Calls are tried again when the circuit's open time is over."""
    for _ in range(60):
        if gateway.get("/api/v1/crm/contacts").status_code == 200:
            return
        page.wait_for_timeout(500)
    raise AssertionError("crm did not recover")


def test_a_service_that_answers_404_to_everything_is_an_incident_and_can_be_probed(
    visit: Open, screenshot: Screenshot, gateway: Gateway
) -> None:
    for _ in range(25):
        assert gateway.get("/api/v1/mail/inbox").status_code == 404
    page = visit("/dashboard/services/mail/")
    expect_live(page)
    shown = page.get_by_role("article")
    expect(shown).to_contain_text("100% of responses are 4xx", timeout=15_000)
    expect(shown).to_contain_text("404 from /inbox", timeout=15_000)
    shown.get_by_role("button", name="Probe targets").click()
    expect(shown.locator(".outcome")).to_contain_text("404 after", timeout=15_000)
    shown.get_by_text("Last failures").click()
    expect(shown.get_by_role("cell", name="GET /api/v1/mail/inbox").first).to_be_visible()
    assert violations(page) == []
    screenshot(page, "incident-404")
    page.goto(f"{gateway.url}/dashboard/")
    expect(page.locator('[data-service="mail"] [data-cell="client-errors"]')).to_have_text("100% 4xx", timeout=15_000)


@pytest.mark.parametrize("width", [320, WIDE])
def test_the_longest_name_of_a_service_overflows_no_page(visit: Open, gateway: Gateway, width: int) -> None:
    name = "a" + "b" * (LONGEST - 1)
    assert gateway.get(f"/api/v1/{name}/contacts").status_code == 200
    for path in ("", f"services/{name}/", "savings/", "usage/"):
        page = visit(f"/dashboard/{path}", width=width)
        expect(page.get_by_text(name).first).to_be_attached(timeout=15_000)
        assert not overflows(page), path
        page.close()
    page = visit(width=width)
    circuit = f"{gateway.url}/metrics/circuit-breakers/{name}"
    token = page.locator('meta[name="csrf"]').get_attribute("content") or ""
    staff = {"X-CSRFToken": token, "Referer": gateway.url}
    assert page.request.post(f"{circuit}/open", data={"reason": "w" * 200}, headers=staff).ok
    card = page.locator(f'article[aria-labelledby="incident-{name}"]')
    expect(card).to_have_attribute("data-tone", "bad", timeout=15_000)
    reset = card.get_by_role("button", name=f"Reset {name}")
    if not reset.is_visible():  # the first card is open by itself
        card.get_by_role("button", name="Details").click()
    expect(reset).to_be_visible()
    assert not overflows(page)
    detail = page.locator(f'[data-service="{name}"] .state')
    assert detail.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    page.goto(f"{gateway.url}/dashboard/services/{name}/")
    expect(page.locator("#transitions")).to_contain_text("w" * 200, timeout=15_000)
    assert not overflows(page)
    assert page.request.post(f"{circuit}/reset", headers=staff).ok


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_an_error_page_is_readable_and_leads_back(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    # A page of its own: the browser logs the 404 as an error.
    page = visit("/admin/explain/", width=width).context.new_page()
    response = page.goto(f"{gateway.url}/dashboard/services/nothing/")
    assert response is not None
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    expect(page.get_by_text(response.headers["x-request-id"])).to_be_visible()
    assert list(faults(page, "error", screenshot, width)) == []
    page.get_by_role("link", name="To the dashboard").click()
    expect_live(page)
