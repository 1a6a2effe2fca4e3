"""Prometheus text and OpenMetrics: negotiation, syntax and values."""

import pytest
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from metrics.counting.histogram import PROMETHEUS_BOUNDS
from metrics.prometheus import Format, negotiate
from resilience.breaker.machine import State
from routing.observability.events import BackendEvent, BackendEventKind
from tests.metrics.events import finished
from tests.metrics.harness import SHARED, Harness, ok

pytestmark = pytest.mark.django_db

SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None),
        ("application/json, text/plain;q=0.5, */*;q=0.1", None),
        ("application/json, text/plain, */*", None),
        ("text/plain", Format.TEXT),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        (SCRAPER, Format.OPENMETRICS),
        ("text/plain;q=0", None),
        ("text/plain;q=nonsense", None),
    ],
)
def test_the_preferred_format_is_negotiated(accept: str, expected: Format | None) -> None:
    assert negotiate(accept) is expected


def scrape(api_client: Client, accept: str = "text/plain") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = api_client.get("/metrics", headers={"Accept": accept})
    families = openmetrics if "openmetrics" in page["Content-Type"] else text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(page.content.decode())
        for sample in family.samples
    }


def test_content_types_name_the_format(harness: Harness, api_client: Client) -> None:
    plain, modern = (api_client.get("/metrics", headers={"Accept": accept}) for accept in ("text/plain", SCRAPER))
    assert plain["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert modern["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.content.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["text/plain", SCRAPER])
def test_every_metric_family_has_samples(harness: Harness, api_client: Client, accept: str) -> None:
    harness.serve(ok())
    harness.run(harness.breakers.of("crm", SHARED.breaker).override(State.FORCED_OPEN))
    harness.gauges["websocket_connections"] = lambda: 3
    harness.gauges["calls_in_flight"] = lambda: 5
    harness.counters["lost|get"] = lambda: 7
    harness.observer.webhook("slack", "queued")
    harness.run(harness.deliveries.queue.add(None, b"a delivery"))
    for duration in (0.004, 0.02, 0.02, 99.0):
        harness.observer.finished(finished(duration=duration, cache="MISS", backend=duration, route="/x", retries=1))
    harness.observer.finished(finished(status=429, code="rate_limited", service=""))
    harness.observer.backend_event(BackendEvent(kind=BackendEventKind.EJECTED, service="crm", target="http://t"))
    samples = scrape(api_client, accept)
    crm = (("service", "crm"),)
    labels = (("method", "GET"), ("route", "/x"), ("service", "crm"), ("status_class", "2xx"))
    assert samples["gateway_requests_total", labels] == 4
    assert samples["gateway_request_duration_seconds_count", crm] == 4
    assert samples["gateway_webhooks_total", (("outcome", "queued"), ("webhook", "slack"))] == 1
    assert samples["gateway_webhook_queue", ()] == 1
    assert samples["gateway_request_duration_seconds_sum", crm] == pytest.approx(99.044)
    buckets = {
        bound: samples["gateway_request_duration_seconds_bucket", (("le", str(bound)), *crm)]
        for bound in PROMETHEUS_BOUNDS
    }
    assert [buckets[bound] for bound in (0.0025, 0.005, 0.01, 0.025, 30.0)] == [0, 1, 1, 3, 3]
    assert samples["gateway_backend_duration_seconds_bucket", (("le", "+Inf"), *crm)] == 4
    assert samples["gateway_cache_requests_total", (("result", "MISS"), *crm)] == 4
    assert samples["gateway_cache_bytes", crm] == 0
    assert samples["gateway_breaker_state", crm] == 3
    assert samples["gateway_breaker_transitions_total", (("from", "CLOSED"), *crm, ("to", "FORCED_OPEN"))] == 1
    assert samples["gateway_breaker_transitions_total", (("from", "CLOSED"), *crm, ("to", "OPEN"))] == 0
    assert samples["gateway_ratelimit_total", (("decision", "allowed"),)] == 4
    assert samples["gateway_ratelimit_total", (("decision", "denied"),)] == 1
    assert samples["gateway_retries_total", crm] == 4
    assert samples["gateway_target_events_total", (("event", "ejected"), *crm)] == 1
    assert [samples["gateway_cache_lost_total", (("operation", each),)] for each in ("get", "put")] == [7, 0]
    assert samples["gateway_websocket_connections", ()] == 3
    assert samples["gateway_calls_in_flight", ()] == 5
    assert samples["gateway_config_version", ()] == 7


@pytest.mark.parametrize("accept", ["text/plain", SCRAPER])
def test_a_labels_value_is_escaped(harness: Harness, api_client: Client, accept: str) -> None:
    route = '/a"b\\c\nd|e'
    harness.observer.finished(finished(route=route))
    labels = (("method", "GET"), ("route", route), ("service", "crm"), ("status_class", "2xx"))
    assert scrape(api_client, accept)["gateway_requests_total", labels] == 1


def test_resetting_the_statistics_does_not_change_the_counters(harness: Harness, api_client: Client) -> None:
    harness.observer.finished(finished(cache="HIT"))
    api_client.post("/metrics/cache/reset", content_type="application/json")
    assert scrape(api_client)["gateway_cache_requests_total", (("result", "HIT"), ("service", "crm"))] == 1
    assert api_client.get("/metrics").json()["cache"]["stats"]["hits"] == 0


def test_it_requires_a_credential(harness: Harness) -> None:
    assert Client().get("/metrics", headers={"Accept": "text/plain"}).status_code == 401
