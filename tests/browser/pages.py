"""What the tests of cross-origin pages need: web servers for pages and backends, and a gateway of a configuration."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import BrowserContext, Page

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
OPEN_SERVICE = """
version: 1
services:
  open:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    auth: none
    cache: off
"""
"""The service `open`, whose backend is at the port `backend`."""
PASSWORD = "for tests alone"
SECRET_KEY = "for tests alone, and long enough to sign with"
PREPARE = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser("ada", password=%r)
call_command("apikey", "create", "browser", "--scope", "*", "--scope", %r, "--scope", "events:publish")
"""

Respond = Callable[[BaseHTTPRequestHandler], None]


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **fields: str) -> None:
    """Send a whole response. In the names of `fields`, underscores are hyphens."""
    handler.send_response(status)
    for name, value in {"Content-Type": "text/html", **fields}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def sign_in(context: BrowserContext, url: str, name: str, password: str) -> None:
    """Log in at the admin of the site at `url`."""
    page = context.new_page()
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/admin/")
    page.close()


def open_from_menu(page: Page, name: str) -> None:
    """Follow a link of the main navigation, which is behind a button on a narrow screen."""
    menu = page.get_by_role("button", name="Menu")
    if menu.is_visible():
        menu.click()
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()


@contextmanager
def web_server(respond: Respond) -> Iterator[int]:
    """Serve every request with `respond`. Yields the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_method(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode("latin-1")
            respond(self)

        do_GET = do_POST = do_PUT = do_OPTIONS = do_HEAD = handle_method  # noqa: N815 - http.server names them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def chromium() -> str | None:
    """The path of a Chromium. Its headless shell is the same engine, and needs a third as long for each new context."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def own_environment(directory: Path, port: int) -> dict[str, str]:
    """The environment of a gateway with its database in `directory`, independent of the developer's."""
    named = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return named | {
        "DJANGO_SETTINGS_MODULE": "tests.server_settings",
        "SECRET_KEY": SECRET_KEY,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DATABASE_URL": f"sqlite:///{directory / 'gateway.sqlite3'}",
        "RATE_LIMIT": "100000/m",
        "PORT": str(port),
        "DRAIN_SECONDS": "0",
    }


def prepare_database(directory: Path, scope: str = "metrics:read") -> str:
    """Create a gateway's database with the user `ada` and an API key that also has `scope`. Returns the key."""
    database, key = _prepared(scope)
    (directory / "gateway.sqlite3").write_bytes(database)
    return key


@cache
def _prepared(scope: str) -> tuple[bytes, str]:
    """The database file and the key: created once for all gateways, since it takes seconds."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", PREPARE % (PASSWORD, scope)]
        environment = own_environment(directory, free_port())
        prepared = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert prepared.returncode == 0, prepared.stderr
        return (directory / "gateway.sqlite3").read_bytes(), prepared.stdout.split()[-1]


@contextmanager
def running_gateway(directory: Path, configuration: str, **environment: str) -> Iterator[tuple[int, str]]:
    """A gateway with this configuration file and the user `ada`. Yields its port and an API key."""
    port = free_port()
    (directory / "gateway.yaml").write_text(configuration)
    named = own_environment(directory, port) | {"GATEWAY_CONFIG": str(directory / "gateway.yaml"), **environment}
    key = prepare_database(directory)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "rungateway"], cwd=ROOT, env=named, stdout=log, stderr=log
        )
    try:
        _wait_until_ready(process, directory / "log")
        yield port, key
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(3_000):
        if b"ready" in log.read_bytes():
            return
        assert process.poll() is None, log.read_text()
        threading.Event().wait(0.02)
    raise AssertionError(log.read_text())
