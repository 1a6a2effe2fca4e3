"""Statistics and invalidation of the cache."""

import pytest
from django.test import Client

from metrics.models import Operation
from metrics.runtime_access import run_on_loop
from resilience.cache.objects import ObjectCache
from tests.metrics.api.endpoints import send
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


def test_hits_and_misses_are_exact_and_can_be_reset(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    for _ in range(18):
        assert harness.request("/api/v1/crm/contacts/1") == 200
    usage = api_client.get("/metrics/cache").json()
    assert usage["stats"] == {"hits": 17, "misses": 1, "hitRate": 94.44}
    assert (usage["connected"], usage["entries"]) == (True, 1)
    assert usage["byService"]["crm"]["bytes"] == usage["bytes"] > 0
    send(api_client, "post", "/metrics/cache/reset")
    after = api_client.get("/metrics/cache").json()
    assert after["stats"] == {"hits": 0, "misses": 0, "hitRate": 0.0}
    assert after["entries"] == 1
    assert harness.request("/api/v1/crm/contacts/1") == 200
    assert api_client.get("/metrics").json()["cache"]["stats"] == {"hits": 1, "misses": 0, "hitRate": 100.0}


def test_a_tag_is_invalidated_after_a_dry_run(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    for number in range(3):
        harness.request(f"/api/v1/crm/contacts/{number}")
    path = "/metrics/cache/crm?tag=contacts"
    assert send(api_client, "delete", f"{path}&dry_run=1").json() == {"service": "crm", "keysDeleted": 3}
    assert not Operation.objects.exists()
    assert send(api_client, "delete", "/metrics/cache/crm?tag=other").json()["keysDeleted"] == 0
    assert send(api_client, "delete", path).json() == {"service": "crm", "keysDeleted": 3}
    assert api_client.get("/metrics/cache").json()["entries"] == 0


def test_a_flush_empties_all_caches(harness: Harness, api_client: Client) -> None:
    for name in ("crm", "mail"):
        harness.serve(ok(), name=name)
    for name in ("crm", "mail"):
        harness.request(f"/api/v1/{name}/contacts/1")
    assert send(api_client, "delete", "/metrics/cache?dry_run=1").json() == {"keysDeleted": 2}
    assert not Operation.objects.exists()
    assert send(api_client, "delete", "/metrics/cache").json() == {"keysDeleted": 2}


@pytest.mark.parametrize("query", ["?tag=contacts", "?dryrun=1", "?dry_run=1&dry_run=0"])
def test_a_flush_takes_no_other_parameter(harness: Harness, api_client: Client, query: str) -> None:
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/1")
    assert send(api_client, "delete", f"/metrics/cache{query}").status_code == 400
    assert api_client.get("/metrics/cache").json()["entries"] == 1


def test_what_django_code_has_stored_is_invalidated_under_its_name(harness: Harness, api_client: Client) -> None:
    objects = ObjectCache(harness.cache._store, harness.clock)
    for name in ("a", "b"):
        run_on_loop(objects.set(name, 1, tags=["t"] if name == "a" else []))
    assert send(api_client, "delete", "/metrics/cache/app?tag=t").json() == {"service": "app", "keysDeleted": 1}
    assert send(api_client, "delete", "/metrics/cache/app").json() == {"service": "app", "keysDeleted": 1}
    assert send(api_client, "delete", "/metrics/cache/nope").status_code == 404


def test_an_invalidation_takes_one_tag(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/1")
    for query in ("?tags=other", "?tag=other&tag=contacts"):
        assert send(api_client, "delete", f"/metrics/cache/crm{query}").status_code == 400
    assert api_client.get("/metrics/cache").json()["entries"] == 1
