"""Running `wrk`: its command line, its Lua scripts, and parsing of what it prints."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from benchmarks.processes import NotStarted

CONNECTIONS: Final = 32
TOLERANCE: Final = 0.02
"""Allowed deviation from the expected share of error responses in a mix, since a run may end anywhere in its cycle."""


class Request(NamedTuple):
    """One request of a mix."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What one target is sent in one case. `error_share` is the expected share of responses with status 400 or above.

    `idle` additional connections are held open during the run. With `keys`, the URL ends in a number that counts from
    `start` up to `keys` and starts over. With `mix`, these requests are sent in turn.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    error_share: float = 0.0
    connections: int = CONNECTIONS
    idle: int = 0
    keys: int = 0
    start: int = 0
    mix: tuple[Request, ...] = ()

    def after(self, requests: int) -> "Load":
        """The same load, continued after `requests` of its requests."""
        return replace(self, start=(self.start + requests) % self.keys) if self.keys else self


class WrkResult(NamedTuple):
    """One run. `rate` is in requests per second; `error_responses` have status 400 or above."""

    rate: float
    requests: int
    error_responses: int
    socket_errors: int

    def fault(self, load: Load) -> str:
        """Why the result is invalid; empty if it is valid."""
        if not self.requests:
            return "no responses"
        if self.socket_errors:
            return f"{self.socket_errors} socket errors"
        share = self.error_responses / self.requests
        if abs(share - load.error_share) > (TOLERANCE if 0 < load.error_share < 1 else 0):
            return f"{share:.1%} error responses instead of {load.error_share:.1%}"
        return ""


def run(load: Load, seconds: float) -> WrkResult:
    """Run `wrk` once. Raises NotStarted if it is not installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotStarted("this needs wrk: apt-get install wrk")
    command = [wrk, "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    for name, value in load.headers:
        command += ["-H", f"{name}: {value}"]
    with ExitStack() as stack:
        lua = script(load)
        if lua:
            file = stack.enter_context(NamedTemporaryFile("w", suffix=".lua"))
            file.write(lua)
            file.flush()
            command += ["-s", file.name]
        stack.enter_context(idle_connections(load.url, load.idle))
        done = subprocess.run([*command, load.url], check=True, capture_output=True, text=True)
    return parse(done.stdout)


def parse(output: str) -> WrkResult:
    """Parse the summary printed by `wrk`. Raises ValueError for anything else."""
    rate = re.search(r"^Requests/sec:\s+([0-9.]+)", output, re.MULTILINE)
    count = re.search(r"^\s*(\d+) requests in", output, re.MULTILINE)
    if rate is None or count is None:
        raise ValueError(f"not a summary printed by wrk: {output!r}")
    responses = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    socket_errors = sum(int(number) for number in sockets.groups()) if sockets else 0
    return WrkResult(float(rate[1]), int(count[1]), int(responses[1]) if responses else 0, socket_errors)


def script(load: Load) -> str:
    """The Lua script for a load; empty if command-line options suffice."""
    parts = urlsplit(load.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if load.keys:
        return f"local n = {load.start}\nrequest = function()\n  n = (n + 1) % {load.keys}\n" + (
            f"  return wrk.format(nil, {_quoted(path)} .. n)\nend\n"
        )
    if load.mix:
        return _mix_script(load.mix)
    return ""


def _mix_script(mix: Sequence[Request]) -> str:
    lines = ["local mix = {}", "init = function()"]
    for request in mix:
        fields = ", ".join(f"[{_quoted(name)}] = {_quoted(value)}" for name, value in request.headers)
        body = _quoted(request.body) if request.body else "nil"
        lines.append(
            f"  mix[#mix + 1] = wrk.format({_quoted(request.method)}, {_quoted(request.path)}, {{{fields}}}, {body})"
        )
    lines += ["end", "local n = 0", "request = function()", "  n = n % #mix + 1", "  return mix[n]", "end"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@contextmanager
def idle_connections(url: str, count: int) -> Iterator[None]:
    """Hold `count` kept-alive connections open, each of which sends one request and then stays idle.

    Raises NotStarted at the end if the server closed any of them: the run did not have the connections it claims.
    """
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(count)]
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            connection.recv(65_536)
            connection.setblocking(False)
        yield
        closed = sum(_is_closed(connection) for connection in connections)
    if closed:
        raise NotStarted(f"{closed} of {count} idle connections were closed")


def _is_closed(connection: socket.socket) -> bool:
    """Whether the peer has closed the connection. Data still unread is discarded."""
    try:
        while data := connection.recv(65_536):
            del data
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
