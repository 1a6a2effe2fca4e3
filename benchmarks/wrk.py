"""Rounds of `wrk`: what it is told to ask for, and what its words mean."""

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
"""How far the share of refusals may be from what is expected: kinds of traffic take turns, rounds end anywhere."""


class Ask(NamedTuple):
    """One request, for a script of several."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What one contestant is asked in one case. `refused` is the share of answers above 399 that is right.

    `idle` connections are held open beside it; with `keys`, the request ends in a number that goes from `start` up to
    `keys`, and round again; `asks` take turns where there are several kinds of request.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    refused: float = 0.0
    connections: int = CONNECTIONS
    idle: int = 0
    keys: int = 0
    start: int = 0
    asks: tuple[Ask, ...] = ()

    def after(self, requests: int) -> "Load":
        """The same, going on where `requests` of it left off."""
        return replace(self, start=(self.start + requests) % self.keys) if self.keys else self


class Measured(NamedTuple):
    """One round: requests a second, how many, how many answers above 399, and what went wrong on the wire."""

    rate: float
    requests: int
    refused: int
    errors: int

    def fault(self, load: Load) -> str:
        """Why the figure must not be used; empty when it may."""
        if not self.requests:
            return "no answers"
        if self.errors:
            return f"{self.errors} socket errors"
        share = self.refused / self.requests
        if abs(share - load.refused) > (TOLERANCE if 0 < load.refused < 1 else 0):
            return f"{share:.1%} refused instead of {load.refused:.1%}"
        return ""


def run(load: Load, seconds: float) -> Measured:
    """One round. Raises NotStarted without `wrk`."""
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
        stack.enter_context(holding(load.url, load.idle))
        done = subprocess.run([*command, load.url], check=True, capture_output=True, text=True)
    return parse(done.stdout)


def parse(told: str) -> Measured:
    """What wrk printed. Raises ValueError for anything else."""
    rate = re.search(r"^Requests/sec:\s+([0-9.]+)", told, re.MULTILINE)
    count = re.search(r"^\s*(\d+) requests in", told, re.MULTILINE)
    if rate is None or count is None:
        raise ValueError(f"not a summary of wrk's: {told!r}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    broken = sum(int(number) for number in errors.groups()) if errors else 0
    return Measured(float(rate[1]), int(count[1]), int(refused[1]) if refused else 0, broken)


def script(load: Load) -> str:
    """What wrk needs to be told in Lua; empty where its options will do."""
    parts = urlsplit(load.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if load.keys:
        return f"local n = {load.start}\nrequest = function()\n  n = (n + 1) % {load.keys}\n" + (
            f"  return wrk.format(nil, {_quoted(path)} .. n)\nend\n"
        )
    if load.asks:
        return _taking_turns(load.asks)
    return ""


def _taking_turns(asks: Sequence[Ask]) -> str:
    lines = ["local asks = {}", "init = function()"]
    for ask in asks:
        fields = ", ".join(f"[{_quoted(name)}] = {_quoted(value)}" for name, value in ask.headers)
        body = _quoted(ask.body) if ask.body else "nil"
        lines.append(
            f"  asks[#asks + 1] = wrk.format({_quoted(ask.method)}, {_quoted(ask.path)}, {{{fields}}}, {body})"
        )
    lines += ["end", "local n = 0", "request = function()", "  n = n % #asks + 1", "  return asks[n]", "end"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@contextmanager
def holding(url: str, count: int) -> Iterator[None]:
    """`count` kept-alive connections to the server, each of which has asked once and says nothing more.

    Raises NotStarted when one of them was closed meanwhile: then it was no company.
    """
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    asking = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(count)]
        for connection in held:
            connection.sendall(asking)
        for connection in held:
            connection.recv(65_536)
            connection.setblocking(False)
        yield
        closed = sum(_is_closed(connection) for connection in held)
    if closed:
        raise NotStarted(f"{closed} of {count} idle connections were closed")


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other end has gone: what it may still have had to say is read first."""
    try:
        while data := connection.recv(65_536):
            del data
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
