"""tests/load-test.sh against servers of known behaviour."""

import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.needs import skip_or_fail

SCRIPT = Path(__file__).parents[1] / "load-test.sh"
LIMIT = 100


@contextmanager
def gateway(limit: int, failing: str = "") -> Iterator[str]:
    """Responds with 200, but with 429 after `limit` requests to /api, and with 503 to the path `failing`."""
    requests = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment per response: Nagle's algorithm would delay the body until the head is acknowledged

        def do_GET(self) -> None:
            limited = self.path.startswith("/api") and next(requests) >= limit
            status = 429 if limited else 503 if self.path == failing else 200
            self.send_response(status)
            self.send_header("Content-Length", "2")
            if self.request_version == "HTTP/1.0":
                self.send_header("Connection", "keep-alive")
                self.close_connection = False
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Do not log to the test's output."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(url: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    given = {"PATH": path or os.environ["PATH"], "GATEWAY_URL": url, "LOAD_SECONDS": "2"}
    bash = shutil.which("bash") or "/bin/bash"
    return subprocess.run([bash, str(SCRIPT)], env=given, capture_output=True, text=True, check=False)


def results_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """`pass` or `FAIL`, by test."""
    lines = [line.partition("  expected:")[0].split(None, 1) for line in done.stdout.splitlines()[1:]]
    return {name.strip(): result for result, name in lines}


@pytest.fixture(autouse=True)
def _apache_bench() -> None:
    for program in ("ab", "curl"):
        if shutil.which(program) is None:
            skip_or_fail(f"this needs {program}")


def test_all_five_results_are_reported_as_expected_and_seen() -> None:
    with gateway(LIMIT) as url:
        done = run(url)
    results = results_of(done)
    assert list(results) == ["health", "deep health", "rate limiting", "concurrent connections", "sustained load"]
    assert results["rate limiting"] == results["concurrent connections"] == results["sustained load"] == "pass", (
        done.stdout
    )
    assert "expected: 150 rapid requests: 100 pass, 50 are 429" in done.stdout
    assert "seen: 100 pass, 50 are 429" in done.stdout


@pytest.mark.parametrize("limit", [99, 101])
def test_one_passed_request_too_many_or_too_few_fails(limit: int) -> None:
    with gateway(limit) as url:
        done = run(url)
    assert done.returncode == 1
    assert results_of(done)["rate limiting"] == "FAIL"
    assert f"seen: {limit} pass, {150 - limit} are 429" in done.stdout


def test_a_503_response_is_a_failure() -> None:
    with gateway(LIMIT, failing="/health/deep") as url:
        done = run(url)
    assert done.returncode == 1
    assert results_of(done)["deep health"] == "FAIL"
    assert "500 failures" in done.stdout


def test_an_unreachable_gateway_is_reported() -> None:
    done = run("http://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr == "load-test: no response from http://127.0.0.1:1; set GATEWAY_URL\n"


def test_a_missing_ab_is_reported(tmp_path: Path) -> None:
    done = run("http://127.0.0.1:1", path=str(tmp_path))
    assert done.returncode == 2
    assert "ab is missing" in done.stderr
    assert "apt-get install apache2-utils" in done.stderr
