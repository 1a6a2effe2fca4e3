"""The environment: Python, installed versions, the secret key, hosts and proxies."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, off, ok, warning
from gateway_project.doctor.variable_names import check_names
from gateway_project.environment.generated_secrets import FILE
from gateway_project.environment.installation import BASE_DIR
from gateway_project.environment.service_secrets import PREFIX
from gateway_project.environment.variables import is_quoted

_PIN: Final = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;]+)")
EXTRAS: Final = ("postgres", "firebase", "otel", "apprise", "geoip")
MISSING: Final = "is missing"
FEW_CHARACTERS: Final = 5
"""A secret key has at least so many different ones, as Django's own check demands."""
_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]", ".localhost")
_WIDEST: Final = {4: 8, 6: 16}
"""Shortest prefix of a network that may be one company's proxies, by the version of the protocol."""


def check_environment(config: Config) -> Iterator[Finding]:
    yield ok("python", f"{sys.version.split()[0]}, {sys.executable}")
    yield from check_dependencies(BASE_DIR)
    yield from _secret_key(config)
    yield from _debug(config)
    yield from check_names(config.environment)
    yield from check_secrets(config.environment)
    yield from _allowed_hosts(config)
    yield from check_proxies(config)
    yield from _staff(config)


def check_dependencies(directory: Path) -> Iterator[Finding]:
    """Whether what is installed is what the gateway was tested with. Nothing if there are no files of requirements.

    Packages that only extras need may be missing: a variable that needs one is then a fault.
    """
    core = directory / "requirements-core.txt"
    if not core.is_file():
        return
    extras = [directory / f"requirements-{extra}.txt" for extra in EXTRAS]
    differing = _differing(core)
    for file in filter(Path.is_file, extras):
        differing += [found for found in _differing(file) if not found.endswith(MISSING)]
    if differing:
        advice = f"{sys.executable} -m pip install -r {directory / 'requirements.txt'}"
        yield warning("dependencies", ", ".join(differing), advice)
    else:
        yield ok("dependencies", "those of requirements-core.txt are installed")


def _differing(requirements: Path) -> list[str]:
    differing = []
    for line in requirements.read_text().splitlines():
        if found := _PIN.match(line):
            name, version = found.groups()
            try:
                installed = metadata.version(name)
            except metadata.PackageNotFoundError:
                differing.append(f"{name} {version} {MISSING}")
                continue
            if installed != version:
                differing.append(f"{name} {installed} instead of {version}")
    return differing


def _secret_key(config: Config) -> Iterator[Finding]:
    file = config.var / FILE
    if len(set(config.secret_key)) < FEW_CHARACTERS or config.secret_key.startswith("django-insecure-"):
        advice = "make a random one: openssl rand -base64 48. Sessions end, and stored tokens are lost"
        yield warning("secret key", "it can be guessed: sessions and tokens of backends can be forged and read", advice)
    elif config.environment.get("SECRET_KEY"):
        yield ok("secret key", "set by SECRET_KEY")
    elif file.stat().st_mode & 0o077:
        yield warning("secret key", f"others can read {file}", f"chmod 600 {file}")
    else:
        yield ok("secret key", f"in {file}; every other machine needs the same one")


def check_secrets(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Secrets may have any character. Nothing if none has what it was probably not meant to have."""
    for name in sorted(environment):
        value = environment[name]
        if name != "SECRET_KEY" and not name.startswith(PREFIX):
            continue
        if is_quoted(value.strip()):
            advice = "remove them if they are not meant: docker's --env-file takes them as a part of the value"
            yield warning("environment", f"{name} is in quotation marks", advice)
        elif value != value.strip():
            yield warning("environment", f"{name} begins or ends with white space", "remove it if it is not meant")


def _debug(config: Config) -> Iterator[Finding]:
    if config.debug and not _is_local(config):
        yield error("debug", "DEBUG is on, and others can connect: errors show the code", "unset DEBUG")
    elif config.debug:
        yield warning("debug", "DEBUG is on", "unset DEBUG in production")


def _allowed_hosts(config: Config) -> Iterator[Finding]:
    named = ", ".join(config.allowed_hosts)
    if "*" in config.allowed_hosts:
        yield warning(
            "allowed hosts",
            "any host is allowed: links and redirects can be forged",
            "list your names in ALLOWED_HOSTS",
        )
    elif not _is_local(config) and "ALLOWED_HOSTS" not in config.environment:
        advice = "set ALLOWED_HOSTS to the names that clients use, such as gateway.example.com"
        yield warning("allowed hosts", f"only {named}: requests for any other name get 421", advice)
    else:
        yield ok("allowed hosts", named)


def check_proxies(config: Config) -> Iterator[Finding]:
    """Networks that are too wide let clients choose their own address, which rate limits and lists of addresses use."""
    wide = [str(network) for network in config.trusted_proxies if network.prefixlen < _WIDEST[network.version]]
    if any(not network.prefixlen for network in config.trusted_proxies):
        advice = "list the addresses of your proxies only"
        yield error("trusted proxies", "every client is trusted to name its own address", advice)
    elif wide:
        advice = "list the addresses of your proxies only: a trusted peer decides the client's address"
        yield warning("trusted proxies", f"{', '.join(wide)} is very wide", advice)
    elif config.trusted_proxies:
        yield ok("trusted proxies", ", ".join(map(str, config.trusted_proxies)))
    elif _is_local(config):
        yield off("trusted proxies", "none; list a proxy on this machine as 127.0.0.1 in TRUSTED_PROXIES")
    else:
        advice = "list the proxy in front in TRUSTED_PROXIES, or terminate TLS in one: the gateway speaks http"
        yield warning("trusted proxies", "none: behind a proxy, all clients would share its address and rate", advice)


def _staff(config: Config) -> Iterator[Finding]:
    names = {host for host in config.allowed_hosts if host not in _LOCAL}
    if names == {config.staff.host} and not config.staff.port:
        message = f"{config.staff.host} is the only host for services too: their pages are sandboxed there"
        yield warning("staff origin", message, "list the name that clients use in ALLOWED_HOSTS, another one")
    elif config.staff.host or config.staff.port:
        place = config.staff.host or f"port {config.staff.port}"
        yield ok("staff origin", f"the admin and the dashboard are at {place} alone")
    elif not _is_local(config):
        advice = "set STAFF_HOST or STAFF_PORT: an origin of their own (docs/browsers.md)"
        yield warning("staff origin", "the admin and the dashboard share an origin with services", advice)


def _is_local(config: Config) -> bool:
    """Whether only this machine can connect."""
    try:
        return ip_address(config.server.host).is_loopback
    except ValueError:
        return config.server.host == "localhost"
