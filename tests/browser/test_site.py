"""The documentation as a site: it is built without a warning, and works from a disk, without a network."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway_project.management.commands.reference import pages

ROOT = Path(__file__).parents[2]
TEXT = {".html", ".css", ".js"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of docs/ with the pages of the reference."""
    docs = tmp_path_factory.mktemp("documentation") / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("reference"))
    (docs / "reference").mkdir()
    for name, content in pages(ROOT).items():
        (docs / "reference" / name).write_text(content)
    return docs


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "docs/site/mkdocs.yml"]
    return subprocess.run(
        [*command, "--site-dir", str(site)], cwd=docs.parent, capture_output=True, check=False, text=True
    )


@pytest.fixture(scope="module")
def site(sources: Path) -> Path:
    """The built site. A page that is in no menu, or a link that leads nowhere, fails it."""
    built = build(sources, sources.parent / "site")
    assert built.returncode == 0, built.stderr
    return sources.parent / "site"


def test_a_link_that_leads_nowhere_fails_the_build(sources: Path, site: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(sources, docs)
    with (docs / "tutorial.md").open("a") as page:
        page.write("\n[nowhere](redis.md#no-such-heading)\n")
    built = build(docs, tmp_path / "site")
    assert built.returncode != 0
    assert "no-such-heading" in built.stderr


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = re.compile(
        r"""(?:<(?:script|img|iframe)[^>]*\ssrc|<link[^>]*\shref)=["']?(?:https?:)?//[^"'\s>]+|url\(["']?https?://"""
    )
    found = {
        (path.name, match[0])
        for path in site.rglob("*")
        if path.suffix in TEXT - {".js"}
        for match in loaded.finditer(path.read_text())
    }
    assert found == set()


@pytest.fixture
def page(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page without a network, and the addresses that it has asked for."""
    context = browser.new_context(offline=True)
    page, requested = context.new_page(), list[str]()
    page.on("request", lambda request: requested.append(request.url))
    yield page, requested
    context.close()


def test_pages_and_the_search_work_from_a_disk(site: Path, page: tuple[Page, list[str]]) -> None:
    tab, requested = page
    tab.goto((site / "index.html").as_uri())
    tab.get_by_role("link", name="Tutorial").first.click()
    expect(tab.get_by_role("heading", level=1)).to_contain_text("your own service in ten minutes")
    tab.keyboard.press("/")
    tab.keyboard.type("failure_threshold")
    result = tab.locator(".md-search-result__link").first
    expect(result).to_be_visible()
    expect(result).to_have_attribute("href", re.compile("html"))
    assert [url for url in requested if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
