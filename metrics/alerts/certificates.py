"""When the certificates of targets expire. Only a TLS handshake is made with a target."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from metrics.alerts.conditions import Certificate
from resilience.task_set import TaskSet
from routing.configuration.faults import format_path
from routing.configuration.tls_expiry import expiries
from routing.router.table import Service
from routing.tls.context import create_context
from routing.tls.policy import TlsPolicy

REFRESH_SECONDS: Final = 3_600.0
LIMIT_SECONDS: Final = 10.0
"""The time limit of one handshake."""
AT_ONCE: Final = 8
MAX_HOSTS: Final = 500

CertificateAddress = tuple[str, int, TlsPolicy | None]
"""A target's host and port, and how it is reached."""


class TargetCertificates:
    """Checks the targets at most once in REFRESH_SECONDS, in the background. One that cannot be reached keeps its last
    result.

    `own` are certificates that this gateway is configured with. `clock` is Unix time.
    """

    def __init__(self, own: Iterable[Certificate], clock: Callable[[], float]) -> None:
        self._own = tuple(own)
        self._clock = clock
        self._ends: dict[CertificateAddress, float] = {}
        self._addresses: dict[CertificateAddress, str] = {}
        self._looked_at = 0.0
        self._tasks = TaskSet()

    async def close(self) -> None:
        await self._tasks.cancel_and_wait()

    def current(self, services: Iterable[Service]) -> tuple[Certificate, ...]:
        """The certificates known so far of these services' targets. Those of new targets are known after the next
        check.
        """
        services = tuple(services)
        addresses = dict(_addresses(services))
        now = self._clock()
        is_due = addresses.keys() != self._addresses.keys() or not 0 <= now - self._looked_at < REFRESH_SECONDS
        self._addresses = addresses
        if is_due and not len(self._tasks):
            self._looked_at = now
            self._tasks.create(self._look(list(addresses)[:MAX_HOSTS]))
        found = ((address, self._ends[address]) for address in addresses if address in self._ends)
        seen = (Certificate(f"{host}:{port}", addresses[host, port, tls], ends) for (host, port, tls), ends in found)
        return (*self._own, *configured(services), *seen)

    async def _look(self, addresses: list[CertificateAddress]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def look(address: CertificateAddress) -> None:
            async with limit:
                with contextlib.suppress(OSError, ValueError, TimeoutError):
                    self._ends[address] = await _end(*address)

        await asyncio.gather(*map(look, addresses))


def client_authorities(roots: bytes) -> Iterator[Certificate]:
    """The certificates of CLIENT_CA."""
    for found in x509.load_pem_x509_certificates(roots) if roots else ():
        name = found.subject.rfc4514_string()[:200]
        yield Certificate(f"CLIENT_CA {name}", "", found.not_valid_after_utc.timestamp())


def _addresses(services: Iterable[Service]) -> Iterator[tuple[CertificateAddress, str]]:
    for service in services:
        for target in service.targets if service.policy.enabled else ():
            parts = urlsplit(target.url)
            if parts.scheme == "https" and parts.hostname and target.weight:
                yield (parts.hostname, parts.port or 443, target.tls), service.name


def configured(services: Iterable[Service]) -> Iterator[Certificate]:
    """Those by which the gateway knows services' targets, and they know it."""
    for path, ends in expiries(service for service in services if service.policy.enabled):
        yield Certificate(format_path(path[1:]), str(path[1]), ends)


async def _end(host: str, port: int, tls: TlsPolicy | None) -> float:
    """When the certificate expires, in Unix seconds, whether it is valid or not: the connection is used for nothing
    else.

    Raises OSError, ValueError and TimeoutError.
    """
    policy = tls or TlsPolicy()
    context = await asyncio.to_thread(create_context, policy)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    name = policy.server_name or host.removesuffix(".")
    async with asyncio.timeout(LIMIT_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        try:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
    if not shown:
        raise ValueError("the target has no certificate")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
