"""The command palette in Chromium: by keyboard alone, on a page of the dashboard."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, Screenshot, faults
from tests.browser.conftest import Gateway, Open


def open_palette(page: Page) -> None:
    expect(page.locator("[data-palette]")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.locator(".palette [role=combobox]")).to_be_focused()


def test_a_pasted_request_id_opens_its_page(visit: Open, gateway: Gateway) -> None:
    problem = gateway.get("/api/v1/nothing/of-the-palette").json()
    page = visit()
    open_palette(page)
    page.keyboard.insert_text(problem["request_id"])
    page.keyboard.press("Enter")  # before the list has come
    page.wait_for_url(lambda url: "/dashboard/requests/" in url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("/api/v1/nothing/of-the-palette")


def test_it_is_a_combobox_for_screen_readers(visit: Open, screenshot: Screenshot) -> None:
    page = visit()
    open_palette(page)
    page.keyboard.type("crm")
    first, second = page.locator(".palette [role=option]").nth(0), page.locator(".palette [role=option]").nth(1)
    expect(first).to_have_text("crm")
    box = page.locator(".palette [role=combobox]")
    assert box.get_attribute("aria-expanded") == "true"
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(second).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == second.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".palette [role=option]").last).to_have_attribute("aria-selected", "true")
    assert list(faults(page, "palette", screenshot)) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    open_palette(page)
    page.keyboard.type("no such thing anywhere")
    expect(page.get_by_role("status").filter(has_text="Nothing found.")).to_be_visible()


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_an_operation_asks_first_and_says_what_it_did(visit: Open, gateway: Gateway, width: int) -> None:
    page = visit("/dashboard/events/", width=width)
    page.get_by_role("button", name="Search").click()
    page.keyboard.type("reset circuit crm")
    page.locator(".palette [role=option]").filter(has_text="Reset the circuit of crm").click()
    page.wait_for_url("**/dashboard/services/crm/")
    dialog = page.get_by_role("dialog", name="Reset the circuit of crm")
    dialog.get_by_role("button", name="Reset").click()
    expect(page.locator("#toasts")).to_contain_text("The circuit of crm is closed.")
    assert "#" not in page.url


def test_the_menu_of_a_phone_opens_by_keyboard(visit: Open) -> None:
    page = visit(width=PHONE)
    header = page.locator("header.bar").bounding_box()
    assert header is not None
    assert header["height"] < 64  # one row
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Dashboard")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()


KEY = """(init) => {
  const where = document.querySelector("dialog.palette[open] [role=combobox]") ?? document.body;
  const event = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init });
  where.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def press(page: Page, **init: object) -> bool:
    """Send what other keyboards send. Returns whether the browser's own action is prevented."""
    return bool(page.evaluate(KEY, init))


def test_it_toggles_once_while_the_keys_are_held_and_on_every_keyboard(visit: Open) -> None:
    page = visit("/dashboard/requests/")
    palette = page.locator("dialog.palette[open]")
    field = page.locator("main input:visible").first
    field.focus()
    open_palette(page)
    for _ in range(3):
        assert press(page, key="k", code="KeyK", ctrlKey=True, repeat=True)
    expect(palette).to_be_visible()
    page.keyboard.press("Control+k")
    expect(palette).to_have_count(0)
    expect(field).to_be_focused()
    assert press(page, key="\u043b", code="KeyK", ctrlKey=True)  # the same key of a Russian keyboard
    expect(palette).to_be_visible()
    page.keyboard.press("Escape")
    assert not press(page, key="t", code="KeyK", ctrlKey=True)  # of a Dvorak keyboard, where K is elsewhere
    expect(palette).to_have_count(0)


def test_enter_that_ends_a_composition_follows_nothing(visit: Open) -> None:
    page = visit("/dashboard/events/")
    open_palette(page)
    expect(page.locator(".palette [aria-selected=true]")).to_have_count(1)
    press(page, key="Enter", isComposing=True)
    press(page, key="Enter", keyCode=229)  # in WebKit, after the composition has ended
    press(page, key="ArrowDown", isComposing=True)
    expect(page.locator(".palette [role=option]").first).to_have_attribute("aria-selected", "true")
    assert page.url.endswith("/dashboard/events/")
    expect(page.locator("dialog.palette[open]")).to_be_visible()
