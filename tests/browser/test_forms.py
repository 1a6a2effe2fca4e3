"""The admin's forms of the configuration in Chromium, on a phone and on a wide screen."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.test_dashboard import PHONE, WIDE, Screenshot, overflows, violations

ROUTES = "/admin/routing/route/?service__name=slackIntelligence"


def assert_accessible(page: Page) -> None:
    """Nothing found by axe, of any weight, and no horizontal overflow."""
    assert violations(page, of_any_weight=True) == []
    assert not overflows(page)


def shown_paths(page: Page) -> list[str]:
    found: list[str] = page.locator("#result_list .field-path").all_inner_texts()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_the_list_of_routes_is_accessible(visit: Open, screenshot: Screenshot, scheme: str, width: int) -> None:
    page = visit(ROUTES, width=width, scheme=scheme)
    expect(page.locator("[data-move]").first).to_be_visible()
    screenshot(page, f"admin-routes-{width}-{scheme}")
    assert_accessible(page)


def test_routes_are_moved_by_keyboard_and_by_dragging(visit: Open) -> None:
    page = visit(ROUTES)
    first, second, *rest = shown_paths(page)
    page.locator("[data-move]").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#route-order-status")).to_have_text("Moved to position 2.")
    page.reload()
    assert shown_paths(page) == [second, first, *rest]
    handle, target = page.locator("[data-move]").nth(1), page.locator("#result_list tbody").first
    box, goal = handle.bounding_box(), target.bounding_box()
    assert box is not None
    assert goal is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 5, goal["y"] + 3, steps=5)
    page.mouse.up()
    expect(page.locator("#route-order-status")).to_have_text("Moved to position 1.")
    page.reload()
    assert shown_paths(page) == [first, second, *rest]
