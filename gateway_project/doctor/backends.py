"""The services: whether they can be loaded, whether targets accept connections, and how long certificates last."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from django.db import DatabaseError

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, off, ok, warning
from routing.backend.reasons import failure_reason
from routing.configuration.faults import format_path
from routing.configuration.tls_expiry import expiries
from routing.database.loader import load
from routing.router.policy import Target
from routing.router.table import Service
from routing.tls.context import create_context
from routing.tls.policy import TlsPolicy

AT_ONCE: Final = 16
EXPIRES_SOON_DAYS: Final = 14
ALERT_SECONDS: Final = 0.3
"""How long a target has to refuse the gateway after the handshake."""
_PORTS: Final = {"http": 80, "https": 443}


class Destination(NamedTuple):
    """The host and port that a connection is made to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Destination":
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Probed(NamedTuple):
    """`fault` is why no connection could be made, "" if one was; `days` until the certificate ends, if there is one."""

    fault: str
    days: float | None = None


def check_services(config: Config, timeout: float) -> Iterator[Finding]:
    """Connect to every target, without a request, which may have an effect. `timeout` is in seconds."""
    try:
        loaded = load(config.secret)
    except DatabaseError:
        yield off("services", "the database has none yet")
        return
    services = list(loaded.table.services.values())
    for service in services:
        for fault in service.faults:
            yield error(f"service {service.name}", fault, "correct it in the admin or the file; it is out of service")
    for fault in loaded.faults:
        yield error("configuration", fault, "correct it in the admin or the file")
    if not services:
        yield off("services", "there are none yet")
        return
    enabled = [service for service in services if service.policy.enabled]
    yield from check_own_certificates(enabled, time.time())
    yield from check_targets(enabled, timeout)


def check_targets(services: Iterable[Service], timeout: float) -> Iterator[Finding]:
    wanted = {service.name: {_Probe.of(target) for target in service.targets if target.weight} for service in services}
    distinct = sorted({each for found in wanted.values() for each in found}, key=_Probe.order)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        probed = dict(zip(distinct, threads.map(partial(_probe_with, timeout=timeout), distinct), strict=True))
    for name, found in wanted.items():
        away = [each for each in sorted(found, key=_Probe.order) if probed[each].fault]
        if away:
            reasons = "; ".join(f"{each.origin}: {probed[each].fault}" for each in away)
            advice = "check that it runs, that its name is right, and that this machine may connect"
            make = error if len(away) == len(found) else warning
            yield make(f"service {name}", reasons, advice)
    reachable = [each for each in distinct if not probed[each].fault]
    if reachable:
        yield ok("targets", f"{len(reachable)} of {len(distinct)} accept connections")
    for origin, days in {each.origin: probed[each].days for each in reachable}.items():
        if days is not None and days < EXPIRES_SOON_DAYS:
            yield warning(f"certificate {origin.host}", f"ends in {days:.0f} days ({origin})", "have it renewed")


def check_own_certificates(services: Iterable[Service], now: float) -> Iterator[Finding]:
    """Those by which the gateway knows targets, and they know it. `now` is Unix time."""
    for path, ends in expiries(services):
        days = (ends - now) / 86_400
        if days < EXPIRES_SOON_DAYS:
            make, text = (error, "has expired") if days <= 0 else (warning, f"ends in {days:.0f} days")
            yield make(f"certificate {format_path(path[1:])}", text, "renew it: a file is read again when it changes")


class _Probe(NamedTuple):
    """A connection as the gateway makes it."""

    origin: Destination
    tls: TlsPolicy | None

    @classmethod
    def of(cls, target: Target) -> "_Probe":
        return cls(Destination.of(target.url), target.tls)

    def order(self) -> Destination:
        return self.origin


def _probe_with(wanted: _Probe, timeout: float) -> Probed:
    return probe(wanted.origin, timeout, wanted.tls)


def probe(origin: Destination, timeout: float, tls: TlsPolicy | None = None) -> Probed:
    try:
        with socket.create_connection((origin.host, origin.port), timeout) as connection:
            if origin.scheme == "http":
                return Probed("")
            name = (tls.server_name if tls else "") or origin.host.removesuffix(".")
            with create_context(tls).wrap_socket(connection, server_hostname=name) as secured:
                certificate = secured.getpeercert() or {}
                _wait_for_alert(secured, timeout)
    except OSError as fault:
        return Probed(_text_of(fault, timeout))
    ends = str(certificate.get("notAfter", ""))
    return Probed("", (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400 if ends else None)


def _text_of(fault: OSError, timeout: float) -> str:
    match fault:
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused: {fault.verify_message}"
        case ssl.SSLError():
            return failure_reason(fault)
        case socket.gaierror():
            return "its name cannot be resolved"
        case TimeoutError():
            return f"no answer in {timeout:g} s"
    return fault.strerror or str(fault)


def _wait_for_alert(secured: ssl.SSLSocket, timeout: float) -> None:
    """With TLS 1.3, a target refuses the gateway's certificate after the handshake. Raises ssl.SSLError."""
    secured.settimeout(min(timeout, ALERT_SECONDS))
    with suppress(TimeoutError):
        secured.recv(1)
