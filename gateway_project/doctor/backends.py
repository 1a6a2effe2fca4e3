"""The services: whether they can be loaded, whether targets accept connections, and how long certificates last."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from django.db import DatabaseError

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, off, ok, warning
from routing.database.loader import load
from routing.router.table import Service

AT_ONCE: Final = 16
EXPIRES_SOON_DAYS: Final = 14
_PORTS: Final = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """The host and port that a connection is made to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
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
    yield from check_targets([service for service in services if service.policy.enabled], timeout)


def check_targets(services: Iterable[Service], timeout: float) -> Iterator[Finding]:
    origins = {
        service.name: {Origin.of(target.url) for target in service.targets if target.weight} for service in services
    }
    distinct = sorted({origin for found in origins.values() for origin in found})
    with ThreadPoolExecutor(AT_ONCE) as threads:
        probed = dict(zip(distinct, threads.map(partial(probe, timeout=timeout), distinct), strict=True))
    for name, found in origins.items():
        away = [origin for origin in sorted(found) if probed[origin].fault]
        if away:
            reasons = "; ".join(f"{origin}: {probed[origin].fault}" for origin in away)
            advice = "check that it runs, that its name is right, and that this machine may connect"
            make = error if len(away) == len(found) else warning
            yield make(f"service {name}", reasons, advice)
    reachable = [origin for origin in distinct if not probed[origin].fault]
    if reachable:
        yield ok("targets", f"{len(reachable)} of {len(distinct)} accept connections")
    for origin in reachable:
        days = probed[origin].days
        if days is not None and days < EXPIRES_SOON_DAYS:
            yield warning(f"certificate {origin.host}", f"ends in {days:.0f} days ({origin})", "have it renewed")


def probe(origin: Origin, timeout: float) -> Probed:
    try:
        with socket.create_connection((origin.host, origin.port), timeout) as connection:
            if origin.scheme == "http":
                return Probed("")
            context = ssl.create_default_context()
            with context.wrap_socket(connection, server_hostname=origin.host.removesuffix(".")) as secured:
                certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as fault:
        return Probed(f"its certificate is refused: {fault.verify_message}")
    except socket.gaierror:
        return Probed("its name cannot be resolved")
    except TimeoutError:
        return Probed(f"no answer in {timeout:g} s")
    except OSError as fault:
        return Probed(fault.strerror or str(fault))
    ends = str(certificate.get("notAfter", ""))
    return Probed("", (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400 if ends else None)
