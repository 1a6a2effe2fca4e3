"""A real gateway with its demonstration, used with the system's Chromium."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.pages import PASSWORD, chromium, own_environment, prepare_database
from tests.needs import skip_or_fail
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "test-artefacts"
START_SECONDS = 60


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run all these tests in one process, which starts the gateway and the browser once."""
    item.add_marker("slow")
    item.add_marker(pytest.mark.xdist_group("browser"))


@dataclass
class Gateway:
    """A running gateway and a client with an API key."""

    url: str
    key: str
    session: requests.Session = field(default_factory=requests.Session)

    def publish(self, topic: str, data: Any) -> None:
        """Publish an event of type `test`."""
        event = {"topic": topic, "type": "test", "data": data}
        for _ in range(5):
            response = self.session.post(f"{self.url}/events", json=event, headers={"X-API-Key": self.key}, timeout=30)
            if response.status_code != 503:  # as on a machine too busy for the gateway's own loop
                break
            time.sleep(int(response.headers["Retry-After"]))
        assert response.status_code == 202, response.text

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.url}{path}", headers={"X-API-Key": self.key}, timeout=30)


def _environment(directory: Path, port: int) -> dict[str, str]:
    return own_environment(directory, port) | {
        "DEBUG": "1",
        "ALLOWED_HOSTS": "127.0.0.1",
        "REDIS_URL": _redis_url(),
    }


def _redis_url() -> str:
    from gateway_project.server.embedded import supported

    return "embedded" if supported() else ""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for each module: its tests open circuits. It has a user and a key: the demonstration creates neither."""
    port, directory = free_port(), tmp_path_factory.mktemp("gateway")
    environment = _environment(directory, port)
    key = prepare_database(directory, "metrics:write")
    command = [sys.executable, "manage.py", "rungateway", "--demo"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _wait_until_ready(process)
    gateway = Gateway(f"http://127.0.0.1:{port}", key)
    yield gateway
    gateway.session.close()
    process.send_signal(signal.SIGTERM)
    process.wait(START_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    killer = threading.Timer(START_SECONDS, process.kill)
    killer.start()
    message = []
    for line in process.stdout:
        message.append(line)
        if line.strip() == b"ready":
            break
    else:
        pytest.fail(b"".join(message).decode())
    killer.cancel()
    threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()


def _drain(stream: Any) -> None:
    with stream:
        for _ in stream:
            pass


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    found = chromium()
    if found is None:
        skip_or_fail("chromium is not installed")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def logged_in(browser: Browser, gateway: Gateway) -> Any:
    """The storage state of a browser that has logged in with the page's form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{gateway.url}/dashboard/")
    assert "/admin/login/" in page.url
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/dashboard/")
    state = context.storage_state()
    context.close()
    return state


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, gateway: Gateway, logged_in: Any) -> Iterator[Open]:
    """Opens pages as staff. Fails the test if any logged an error to its console."""
    contexts: dict[tuple[int, Any], BrowserContext] = {}
    console_errors: list[str] = []

    def opened(path: str = "/dashboard/", *, width: int = 1440, scheme: Any = "light") -> Page:
        size: Any = {"width": width, "height": 900 if width > 400 else 844}
        if (width, scheme) not in contexts:
            new = browser.new_context(viewport=size, storage_state=logged_in, color_scheme=scheme)
            contexts[width, scheme] = new
        page = contexts[width, scheme].new_page()
        page.on("pageerror", lambda error: console_errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                console_errors.append(message.text) if _is_unexpected_error(message.text, message.type) else None
            ),
        )
        page.goto(f"{gateway.url}{path}")
        return page

    yield opened
    for context in contexts.values():
        context.close()
    assert console_errors == []


def _is_unexpected_error(text: str, kind: str) -> bool:
    """The browser itself logs network errors when a test disconnects it."""
    return kind == "error" and "net::ERR" not in text and "WebSocket connection" not in text


@pytest.fixture(scope="session")
def screenshot() -> Callable[[Page, str], None]:
    """With SCREENSHOTS=1, saves a screenshot of the whole page in test-artefacts/: each takes 0.1 s of a processor."""
    ARTEFACTS.mkdir(exist_ok=True)

    def save(page: Page, name: str) -> None:
        if os.environ.get("SCREENSHOTS") == "1":
            page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    return save
