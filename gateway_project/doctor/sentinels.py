"""The sentinels of REDIS_URL: each is asked, since a failover needs most of them, and a connection any."""

from collections.abc import Iterator
from typing import Final

from gateway_project.doctor.finding import Finding, error, ok, warning
from resilience.redis_address import RedisAddress
from resilience.redis_client import FAILURES, REFUSED_USER, ask_sentinel, failure_reason

CHECK: Final = "redis sentinels"


def check_sentinels(address: RedisAddress, timeout: float) -> Iterator[Finding]:
    """`timeout` is for each, in seconds."""
    masters: dict[str, list[str]] = {}
    faults: list[str] = []
    is_refused = False
    for host, port in address.hosts:
        name = f"{host}:{port}"
        try:
            masters.setdefault(ask_sentinel(address, host, port, timeout), []).append(name)
        except FAILURES as fault:
            is_refused |= isinstance(fault, REFUSED_USER)
            faults.append(f"{name}: {failure_reason(fault)}")
    if unknown := masters.pop("", None):
        faults.append(f"{', '.join(unknown)}: does not watch {address.master}")
    if len(masters) > 1:
        named = "; ".join(f"{master} of {', '.join(names)}" for master, names in sorted(masters.items()))
        advice = "SENTINEL RESET on those that are outdated, and check that the sentinels reach each other"
        yield error(CHECK, f"they name several masters: {named}", advice)
    if faults:
        advice = "check that each runs and watches the master"
        advice += ", and sentinel_username and sentinel_password in REDIS_URL" if is_refused else ""
        yield (warning if masters else error)(CHECK, "; ".join(faults), advice)
    elif len(masters) == 1:
        yield ok(CHECK, f"{len(address.hosts)} name the same master")
