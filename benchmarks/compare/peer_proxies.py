"""The proxies the gateway is compared with, each run with one worker and its configuration from peers/."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from benchmarks import machine
from benchmarks.processes import NotStarted, accepts, free_port, responds, server_process
from benchmarks.servers import PEERS, redis, render, temporary_directory

NODE: Final = PEERS / "node"
INSTALL_TIMEOUT: Final = 300


@dataclass(frozen=True, slots=True)
class PeerProxy:
    """`cached` and `proxied` label its results with and without its cache; empty if not measured.

    It never caches paths below /miss/.
    """

    address: str
    cached: str = ""
    proxied: str = ""


RunPeer = Callable[[str], AbstractContextManager[PeerProxy]]
"""Runs a proxy in front of an origin's URL. Raises NotStarted with the reason."""


@contextmanager
def nginx(origin: str) -> Iterator[PeerProxy]:
    program, port = _executable("nginx"), free_port()
    with temporary_directory() as directory:
        values: dict[str, str | int] = {
            "port": port,
            "folder": str(directory),
            "origin": origin.removeprefix("http://"),
        }
        file = render("nginx.conf", directory, values)
        address = f"http://127.0.0.1:{port}"
        with server_process([program, "-c", str(file)], responds(f"{address}/small")):
            yield PeerProxy(address, "nginx proxy_cache", "nginx proxy_pass")


@contextmanager
def haproxy(origin: str) -> Iterator[PeerProxy]:
    program, port = _executable("haproxy"), free_port()
    with temporary_directory() as directory:
        file = render("haproxy.cfg", directory, {"port": port, "origin": origin.removeprefix("http://")})
        address = f"http://127.0.0.1:{port}"
        with server_process([program, "-db", "-f", str(file)], responds(f"{address}/small")):
            yield PeerProxy(address, "HAProxy cache", "HAProxy")


@contextmanager
def varnish(origin: str) -> Iterator[PeerProxy]:
    program, port = _executable("varnishd"), free_port()
    with temporary_directory() as directory:
        host, _, origin_port = origin.removeprefix("http://").partition(":")
        file = render("varnish.vcl", directory, {"host": host, "origin_port": origin_port})
        address = f"http://127.0.0.1:{port}"
        command = [program, "-F", "-n", str(directory / "work"), "-a", f"127.0.0.1:{port}", "-f", str(file)]
        command += ["-s", "default,64m", "-p", "thread_pools=1", "-p", "timeout_idle=3600", "-T", "none"]
        with server_process(command, responds(f"{address}/small")):
            yield PeerProxy(address, "Varnish", "Varnish, passed")


@contextmanager
def caddy(origin: str) -> Iterator[PeerProxy]:
    program, port = _executable("caddy"), free_port()
    with temporary_directory() as directory:
        file = render("Caddyfile", directory, {"port": port, "folder": str(directory), "origin": origin})
        address = f"http://127.0.0.1:{port}"
        command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
        with server_process(
            command, responds(f"{address}/small"), environment={"GOMAXPROCS": "1", "HOME": str(directory)}
        ):
            yield PeerProxy(address, proxied="Caddy")


@contextmanager
def fastify(origin: str) -> Iterator[PeerProxy]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with server_process(
        [*_node("fastify.js"), str(port), origin], responds(f"{address}/small"), environment=PRODUCTION
    ):
        yield PeerProxy(address, proxied="fastify http-proxy")


@contextmanager
def express(origin: str) -> Iterator[PeerProxy]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = _node("express.js")
    with (
        redis() as redis_port,
        server_process([*command, str(port), origin, str(redis_port)], accepts(port), environment=PRODUCTION),
    ):
        yield PeerProxy(address, "express + Redis", "express + axios")


PRODUCTION: Final = {"NODE_ENV": "production"}
PEER_PROXIES: Final[dict[str, RunPeer]] = {
    "nginx": nginx,
    "HAProxy": haproxy,
    "Varnish": varnish,
    "Caddy": caddy,
    "fastify": fastify,
    "express": express,
}
VERSION_FLAGS: Final = {
    "nginx": "-v",
    "haproxy": "-v",
    "varnishd": "-V",
    "caddy": "version",
    "node": "--version",
    "redis-server": "--version",
    "wrk": "-v",
}


def versions() -> dict[str, str]:
    """The versions of the installed programs and of the pinned Node packages."""
    found = {name: machine.version_of(name, flag) for name, flag in VERSION_FLAGS.items()}
    pinned = msgspec.json.decode((NODE / "package.json").read_bytes())["dependencies"]
    return {name: version for name, version in {**found, **pinned}.items() if version}


def _executable(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotStarted("not installed")
    return path


def _node(file: str) -> list[str]:
    """The command that runs a Node proxy. Installs the pinned packages first if they are missing."""
    node, npm = _executable("node"), _executable("npm")
    if not (NODE / "node_modules").is_dir():
        command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
        try:
            subprocess.run(command, cwd=NODE, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotStarted(f"npm ci failed: {error}") from None
    return [node, str(NODE / file)]
