"""The peers: what of them is on this machine, started each with one worker from the files in peers/."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from benchmarks import machine
from benchmarks.processes import NotStarted, accepts, answers, free_port, serving
from benchmarks.servers import PEERS, filled, folder, redis

NODE: Final = PEERS / "node"
INSTALL_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """What to ask for: `address` where it caches (below /miss/ it never does), `names` by what it does there."""

    address: str
    cached: str = ""
    proxied: str = ""


Starting = Callable[[str], AbstractContextManager[Peer]]
"""Starts a peer in front of an origin. Raises NotStarted with the reason."""


@contextmanager
def nginx(origin: str) -> Iterator[Peer]:
    program, port = _program("nginx"), free_port()
    with folder() as place:
        values: dict[str, str | int] = {"port": port, "folder": str(place), "origin": origin.removeprefix("http://")}
        file = filled("nginx.conf", place, values)
        address = f"http://127.0.0.1:{port}"
        with serving([program, "-c", str(file)], answers(f"{address}/small")):
            yield Peer(address, "nginx proxy_cache", "nginx proxy_pass")


@contextmanager
def haproxy(origin: str) -> Iterator[Peer]:
    program, port = _program("haproxy"), free_port()
    with folder() as place:
        file = filled("haproxy.cfg", place, {"port": port, "origin": origin.removeprefix("http://")})
        address = f"http://127.0.0.1:{port}"
        with serving([program, "-db", "-f", str(file)], answers(f"{address}/small")):
            yield Peer(address, "HAProxy cache", "HAProxy")


@contextmanager
def varnish(origin: str) -> Iterator[Peer]:
    program, port = _program("varnishd"), free_port()
    with folder() as place:
        host, _, origin_port = origin.removeprefix("http://").partition(":")
        file = filled("varnish.vcl", place, {"host": host, "origin_port": origin_port})
        address = f"http://127.0.0.1:{port}"
        command = [program, "-F", "-n", str(place / "work"), "-a", f"127.0.0.1:{port}", "-f", str(file)]
        command += ["-s", "default,64m", "-p", "thread_pools=1", "-p", "timeout_idle=3600", "-T", "none"]
        with serving(command, answers(f"{address}/small")):
            yield Peer(address, "Varnish", "Varnish, passed")


@contextmanager
def caddy(origin: str) -> Iterator[Peer]:
    program, port = _program("caddy"), free_port()
    with folder() as place:
        file = filled("Caddyfile", place, {"port": port, "folder": str(place), "origin": origin})
        address = f"http://127.0.0.1:{port}"
        command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
        with serving(command, answers(f"{address}/small"), environment={"GOMAXPROCS": "1", "HOME": str(place)}):
            yield Peer(address, proxied="Caddy")


@contextmanager
def fastify(origin: str) -> Iterator[Peer]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with serving([*_node("fastify.js"), str(port), origin], answers(f"{address}/small"), environment=PRODUCTION):
        yield Peer(address, proxied="fastify http-proxy")


@contextmanager
def express(origin: str) -> Iterator[Peer]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = _node("express.js")
    with (
        redis() as redis_port,
        serving([*command, str(port), origin, str(redis_port)], accepts(port), environment=PRODUCTION),
    ):
        yield Peer(address, "express + Redis", "express + axios")


PRODUCTION: Final = {"NODE_ENV": "production"}
STARTING: Final[dict[str, Starting]] = {
    "nginx": nginx,
    "HAProxy": haproxy,
    "Varnish": varnish,
    "Caddy": caddy,
    "fastify": fastify,
    "express": express,
}
FLAGS: Final = {
    "nginx": "-v",
    "haproxy": "-v",
    "varnishd": "-V",
    "caddy": "version",
    "node": "--version",
    "redis-server": "--version",
    "wrk": "-v",
}


def versions() -> dict[str, str]:
    """What there is to compare with, and how new it is."""
    found = {name: machine.version_of(name, flag) for name, flag in FLAGS.items()}
    pinned = msgspec.json.decode((NODE / "package.json").read_bytes())["dependencies"]
    return {name: version for name, version in {**found, **pinned}.items() if version}


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotStarted("not installed")
    return path


def _node(file: str) -> list[str]:
    """The command that runs one of Node's peers, with what it needs installed beside it."""
    node, npm = _program("node"), _program("npm")
    if not (NODE / "node_modules").is_dir():
        command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
        try:
            subprocess.run(command, cwd=NODE, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotStarted(f"npm could not install it: {error}") from None
    return [node, str(NODE / file)]
