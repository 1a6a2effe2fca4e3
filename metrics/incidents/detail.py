"""Everything that there is to know about a service's incident. For Django's threads: it blocks."""

from collections import Counter
from typing import Any, Final

import msgspec

from metrics import cluster_counts, selectors
from metrics.counting import aggregates
from metrics.counting.counts import with_prefix
from metrics.failures.failure import Failure
from metrics.incidents.changes import Change, changes, latest_revision
from metrics.incidents.evidence import Evidence, evidence, fault_kind
from metrics.incidents.incident import Incident
from metrics.incidents.overview import incidents
from metrics.models import TimeResolution
from metrics.runtime_access import run_on_loop, running
from resilience.durations import MINUTE
from resilience.outage import StoreUnavailable
from routing.caller import KEY_CALLER
from routing.models import ApiKey
from routing.router.policy import RoutePolicy

MAX_SECONDS: Final = 6 * 3_600
"""The time up to now of which causes and callers are counted."""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """`traffic_share` is the part of all the gateway's requests that the service had. `revision` is the latest one.
    `names` are those of API keys among the callers. `meanwhile` says what is configured for callers while calls fail.
    """

    now: float
    incident: Incident
    evidence: Evidence
    traffic_share: float
    names: dict[str, str]
    meanwhile: str
    changes: tuple[Change, ...]
    revision: int | None
    failures: tuple[dict[str, Any], ...]


def detail(service: str, *, is_limited: bool = False) -> Detail | None:
    """None if the service has no incident. `is_limited`: without changes of anything else than the service.

    Raises ServiceNotConfigured.
    """
    policy, recent = selectors.get_service(service).policy, selectors.read_recent()
    incident = next((each for each in incidents(recent) if each.service == service), None)
    if incident is None:
        return None
    since = incident.since or recent.at
    found, share = _evidence(incident, since, recent.at)
    return Detail(
        now=recent.at,
        incident=incident,
        evidence=found,
        traffic_share=share,
        names=_key_names([caller.name for caller in found.top_callers]),
        meanwhile=_meanwhile(policy),
        changes=tuple(changes(service, since, is_limited=is_limited)),
        revision=latest_revision(),
        failures=tuple(msgspec.structs.asdict(failure) for failure in _failures(service)),
    )


def _evidence(incident: Incident, since: float, now: float) -> tuple[Evidence, float]:
    """The evidence, and the service's share of all requests. The failures that opened a circuit came before it did."""
    start = int(max(since - MINUTE, now - MAX_SECONDS) // MINUTE) * MINUTE
    end = int((incident.ended or now) // MINUTE + 1) * MINUTE
    rows = aggregates.iterate_counts(cluster_counts.pending_batches(), TimeResolution.MINUTE, start, end)
    own: Counter[str] = Counter()
    all_requests = 0
    for _, name, fields in rows:
        all_requests += sum(with_prefix(fields, "requests").values())
        if name == incident.service:
            own.update(fields)
    found = evidence(own, fault_kind(incident))
    return found, round(found.requests / all_requests, 3) if all_requests else 0.0


def _key_names(callers: list[str]) -> dict[str, str]:
    prefixes = [caller.removeprefix(KEY_CALLER) for caller in callers if caller.startswith(KEY_CALLER)]
    rows = ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", "name")
    return {f"{KEY_CALLER}{prefix}": name for prefix, name in rows}


def _meanwhile(policy: RoutePolicy) -> str:
    """What is configured for callers while calls fail, in the order in which it is tried."""
    answers = []
    if policy.cache is not None and policy.cache.stale_if_error:
        answers.append(f"stale responses up to {policy.cache.stale_if_error:.15g} s old")
    if policy.fallback is not None and policy.fallback.service:
        answers.append(f"responses of {policy.fallback.service}")
    has_response = policy.fallback is not None and policy.fallback.has_response
    answers.append("the configured fallback" if has_response else "503")
    return ", or else ".join(answers)


def _failures(service: str) -> list[Failure]:
    try:
        return run_on_loop(running().failures.read_service(service))
    except StoreUnavailable:
        return []
