"""When the certificates of services' TLS settings expire."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from routing.configuration.faults import Fault, Path
from routing.router.table import Service
from routing.tls.pem import load_certificates
from routing.tls.policy import TlsPolicy


class Expiry(NamedTuple):
    """`path` is that of the setting; `ends` is in Unix seconds."""

    path: Path
    ends: float


def expiries(services: Iterable[Service]) -> Iterator[Expiry]:
    """One for each certificate of the gateway, and for the authority that lasts longest of each `ca`."""
    for service in services:
        path: Path = ("services", service.name)
        yield from _of(service.tls, (*path, "tls"))
        for index, target in enumerate(service.targets):
            if target.tls != service.tls:
                yield from _of(target.tls, (*path, "targets", index, "tls"), service.tls)


def expired(services: Iterable[Service], now: float) -> list[Fault]:
    """A fault for each that is over. `now` is Unix time."""
    return [
        Fault(each.path, f"expired on {datetime.fromtimestamp(each.ends, UTC):%Y-%m-%d at %H:%M} UTC")
        for each in expiries(services)
        if each.ends <= now
    ]


def _of(policy: TlsPolicy | None, path: Path, base: TlsPolicy | None = None) -> Iterator[Expiry]:
    """Those that `base` does not have."""
    if policy is None:
        return
    if policy.certificate and (base is None or policy.certificate != base.certificate):
        own = load_certificates(policy.certificate)[0]
        yield Expiry((*path, "certificate"), own.not_valid_after_utc.timestamp())
    if policy.ca and (base is None or policy.ca != base.ca):
        ends = max(each.not_valid_after_utc.timestamp() for each in load_certificates(policy.ca))
        yield Expiry((*path, "ca"), ends)
