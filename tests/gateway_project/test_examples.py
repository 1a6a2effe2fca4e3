"""The examples in docs/, run as they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import msgspec
import pytest
from playwright.sync_api import sync_playwright

from tests.gateway_project.served import ROOT, Served

CHROMIUM = shutil.which("chromium")


def test_the_example_in_python_follows(served: Served) -> None:
    command = [sys.executable, "docs/examples/events.py", served.url.replace("http", "ws", 1), served.key, "example"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            with publishing(served):
                said = msgspec.json.decode(program.stdout.readline())
        finally:
            program.kill()
    assert (said["type"], said["topic"]) == ("tick", "example")


@pytest.mark.skipif(not CHROMIUM and "NOTHING_SKIPPED" not in os.environ, reason="there is no Chromium on PATH")
def test_the_example_for_browsers_follows_in_a_browser(served: Served) -> None:
    module = (ROOT / "docs/examples/events.js").read_text().replace("export function", "window.follow = function", 1)
    begin = """([gateway, token]) => new Promise((heard) => { follow(gateway, () => token, ["example"], heard); })"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{served.url}/health")
        page.evaluate(module)
        with publishing(served):
            said = page.evaluate(begin, [served.url.replace("http", "ws", 1), served.key])
        browser.close()
    assert (said["type"], said["topic"]) == ("tick", "example")


@contextmanager
def publishing(served: Served) -> Iterator[None]:
    """Events without end: whoever subscribes, whenever it is ready, hears one."""
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
