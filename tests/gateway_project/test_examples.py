"""The examples in docs/, unmodified."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import msgspec
import pytest
from playwright.sync_api import sync_playwright

from tests.browser.pages import chromium
from tests.gateway_project.served import ROOT, Served

CHROMIUM = chromium()


def test_the_python_example_receives_events(served: Served) -> None:
    command = [sys.executable, "docs/examples/events.py", served.url.replace("http", "ws", 1), served.key, "example"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            with publishing(served):
                event = msgspec.json.decode(program.stdout.readline())
        finally:
            program.kill()
    assert (event["type"], event["topic"]) == ("tick", "example")


@pytest.mark.skipif(not CHROMIUM and "NOTHING_SKIPPED" not in os.environ, reason="there is no Chromium on PATH")
def test_the_browser_example_receives_events(served: Served) -> None:
    module = (ROOT / "docs/examples/events.js").read_text().replace("export function", "window.follow = function", 1)
    script = (
        """([gateway, token]) => new Promise((resolve) => { follow(gateway, () => token, ["example"], resolve); })"""
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{served.url}/health")
        page.evaluate(module)
        with publishing(served):
            event = page.evaluate(script, [served.url.replace("http", "ws", 1), served.key])
        browser.close()
    assert (event["type"], event["topic"]) == ("tick", "example")


@contextmanager
def publishing(served: Served) -> Iterator[None]:
    """Publish continuously, so that a subscriber receives an event whenever it is ready."""
    stop = Event()

    def publish() -> None:
        while not stop.wait(0.1):
            served.publish(1, topic="example")

    publisher = Thread(target=publish)
    publisher.start()
    try:
        yield
    finally:
        stop.set()
        publisher.join()
