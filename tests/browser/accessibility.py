"""What makes a page accessible, checked on one loaded page in each colour scheme and size."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

AXE: Final = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
PHONE: Final = 390
WIDE: Final = 1440
LOOKS: Final[tuple[tuple[int, Any], ...]] = ((PHONE, "dark"), (PHONE, "light"), (WIDE, "light"), (WIDE, "dark"))
OF_COLOURS: Final = ("color-contrast", "link-in-text-block")
"""Rules whose result depends on the colour scheme. The others are checked once in each size."""
RUN: Final = """async (rules) => {
  const options = { resultTypes: ["violations"] };
  if (rules) options.runOnly = { type: "rule", values: rules };
  return (await axe.run(options)).violations;
}"""
ADMIN_SCHEME: Final = """isDark => {
  if (document.body.classList.contains("antialiased")) document.documentElement.classList.toggle("dark", isDark);
}"""
"""The admin's theme reads the scheme when a page is loaded."""
STILL: Final = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("*, *::before, *::after { animation: none !important; transition: none !important; }");
  document.adoptedStyleSheets.push(sheet);
}"""
"""Colours in the middle of a transition would be measured."""

Screenshot = Callable[[Page, str], None]


def violations(page: Page, rules: tuple[str, ...] | None = None) -> list[str]:
    """What axe finds, of any weight."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate(RUN, list(rules) if rules else None)
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found
        for node in each["nodes"]
    ]


def overflows(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def faults(page: Page, name: str, screenshot: Screenshot, *widths: int) -> Iterator[str]:
    """What is wrong with a loaded page on a phone and on a wide screen, or in `widths` alone, light and dark.

    Keeps a picture of each size.
    """
    page.evaluate(STILL)
    sizes = set[int]()
    for width, scheme in (look for look in LOOKS if look[0] in (widths or (PHONE, WIDE))):
        page.set_viewport_size({"width": width, "height": 844 if width == PHONE else 900})
        page.emulate_media(color_scheme=scheme)
        page.evaluate(ADMIN_SCHEME, scheme == "dark")
        look = f"{name}-{width}-{scheme}"
        if width not in sizes:
            screenshot(page, look)
        for found in violations(page, OF_COLOURS if width in sizes else None):
            yield f"{look}: {found}"
        if overflows(page):
            yield f"{look}: wider than the screen"
        sizes.add(width)
