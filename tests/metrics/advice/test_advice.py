"""What is advised of the configuration, and the drafts of changes: shown, applied, refused."""

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from metrics.advice import overview
from metrics.advice.cache import evidence
from metrics.advice.records import Advice, ChangedSetting, Draft, Topic
from metrics.models import Aggregate, Operation, TimeResolution
from resilience.cache.policy import CachePolicy, Scope
from routing.database.config_file import stored_document
from routing.models import ApiKey, ConfigurationRevision, Route, Service
from routing.router.policy import RoutePolicy
from tests.metrics.advice.world import configure, count_days, use
from tests.metrics.events import NOW
from tests.metrics.harness import Harness, ok
from tests.staff import member_of

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/dashboard/advice/"
BUCKET = 17  # five and a half minutes


@pytest.fixture
def owner_client(harness: Harness) -> Client:
    return member_of("Owner", "olga", enforce_csrf_checks=True)


def advice(topic: Topic) -> list[Advice]:
    return [each for each in overview.all_advice() if each.topic is topic]


def test_a_route_that_changes_seldom_is_kept_longer(harness: Harness) -> None:
    configure(harness)
    seen = {f"refetch|same|{BUCKET}|/channels": 240, f"refetch|changed|{BUCKET}|/channels": 4}
    count_days(seen | {f"refetch|theirs|{BUCKET}|/feed": 900, f"refetch|changed|{BUCKET}|/gone": 90})
    [found] = advice(Topic.TTL)
    assert (found.service, found.subject) == ("crm", "/channels")
    assert found.draft == Draft(change=ChangedSetting.TTL, service="crm", route="/channels", value="30m")
    assert found.label == "Keep for 30 min"
    assert 190 < found.calls < 244
    for words in ("Kept for 5 min.", "Of 3,416 repeated fetches", "about every 6.1 h", "calls a day", "and now"):
        assert words in found.text


def test_fetches_that_always_differ_are_told_without_a_draft(harness: Harness) -> None:
    configure(harness)
    count_days({f"refetch|changed|{BUCKET}|/feed": 50})
    [found] = advice(Topic.TTL)
    assert (found.subject, found.draft) == ("/feed", None)
    assert "cannot be told" in found.text


def test_routes_that_nobody_calls(harness: Harness) -> None:
    configure(harness)
    assert advice(Topic.ROUTE) == []  # nothing is counted yet
    count_days({"requests|GET|2xx|/channels": 1}, days=20)
    [found] = advice(Topic.ROUTE)  # /feed is not as old
    assert (found.subject, found.draft) == ("/old", Draft(change=ChangedSetting.DISABLE, service="crm", route="/old"))
    assert "No request in 19 days" in found.text
    Aggregate.objects.filter(resolution=TimeResolution.DAY).update(
        counts={"requests|POST|4xx|/old": 1, "requests|GET|2xx|/channels": 1}
    )
    assert advice(Topic.ROUTE) == []


def test_a_week_of_counts_is_too_little_to_call_a_route_unused(harness: Harness) -> None:
    configure(harness)
    count_days({"requests|GET|2xx|/channels": 1}, days=7)
    assert advice(Topic.ROUTE) == []


def test_a_route_is_not_called_unused_before_the_configuration_is_old(harness: Harness) -> None:
    configure(harness)
    count_days({"requests|GET|2xx|/channels": 1}, days=20)
    ConfigurationRevision.objects.update(created_at=datetime.fromtimestamp(NOW, UTC) - timedelta(days=5))
    assert advice(Topic.ROUTE) == []


def test_keys_that_nobody_uses(harness: Harness) -> None:
    now = datetime.now(UTC)
    old, recent = now - timedelta(days=120), now - timedelta(days=95)
    cases: dict[str, dict[str, Any]] = {
        "unused": {},
        "usedlong": {"last_used_at": old},
        "usednow": {"last_used_at": recent},
        "new": {"created_at": recent},
        "revoked": {"revoked_at": recent},
        "expired": {"expires_at": recent},
    }
    for name, fields in cases.items():
        ApiKey.objects.create(name=name, prefix=name[:8], digest=name, owner="ops")
        ApiKey.objects.filter(name=name).update(**{"created_at": old} | fields)
    found = advice(Topic.KEY)
    assert [each.draft for each in found] == [
        Draft(change=ChangedSetting.REVOKE, key=key) for key in ("unused", "usedlong")
    ]
    assert found[0].text.startswith("Never used, made ")
    assert found[1].text.startswith("Last used ")


def test_limits_that_nobody_reaches(harness: Harness) -> None:
    configure(harness)
    count_days({"requests|GET|2xx|/channels": 900, "requests|GET|4xx|": 100})
    use(20, 3, requests=700)
    quota, rate = sorted(advice(Topic.LIMIT), key=lambda each: each.subject)
    assert rate.draft == Draft(change=ChangedSetting.RATE, service="crm", value="2000/m")
    assert "5,000 requests where all together sent at most 1,000 in any hour of 7 days" in rate.text
    assert quota.draft == Draft(change=ChangedSetting.QUOTA, plan="pro", per="day", value="2000")
    assert (quota.subject, quota.text) == (
        "quota 100,000 per day of plan pro",
        "acme has used most of it: 700 requests on one day.",
    )


def test_a_setting_that_cannot_be_loaded_hinders_no_other_advice(harness: Harness) -> None:
    configure(harness)
    count_days({"requests|GET|2xx|/channels": 100})
    Route.objects.filter(path="/feed").update(rate_limit="often")
    assert [each.subject for each in advice(Topic.LIMIT)] == ["rate_limit 5000/m"]


def test_limits_that_are_nearly_reached_or_new_are_left_alone(harness: Harness) -> None:
    configure(harness)
    count_days({"requests|GET|2xx|/channels": 900}, days=3)
    use(20, 3, requests=30_000)
    assert advice(Topic.LIMIT) == []


def draft(**fields: str) -> str:
    return f"{PAGE}draft/?{Draft(**{**fields, 'change': ChangedSetting(fields['change'])}).query}"  # type: ignore[arg-type] # texts alone


def tag_of(page: str) -> str:
    return page.partition('name="tag" value="')[2].partition('"')[0]


def post(client: Client, address: str, tag: str) -> Any:
    client.get(address)
    return client.post(address, {"tag": tag}, headers={"X-CSRFToken": client.cookies["csrftoken"].value})


TTL = {"change": "ttl", "service": "crm", "route": "/channels", "value": "30m"}


def test_a_draft_is_shown_and_applied_by_whoever_may_configure(harness: Harness, owner_client: Client) -> None:
    configure(harness)
    count_days({f"refetch|same|{BUCKET}|/channels": 240, f"refetch|changed|{BUCKET}|/channels": 4})
    page = owner_client.get(PAGE).content.decode()
    address = unescape(page.partition('class="button" href="')[2].partition('"')[0])
    assert address == draft(**TTL)
    shown = unescape(owner_client.get(address).content.decode())
    assert "ttl: 30m" in shown
    assert Route.objects.get(path="/channels").cache == {"ttl": "5m"}
    response = post(owner_client, address, tag_of(shown))
    assert (response.status_code, response["Location"]) == (302, f"{PAGE}?done=1")
    assert Route.objects.get(path="/channels").cache == {"ttl": "30m"}
    assert Route.objects.get(path="/old").scopes == ["admin"]
    assert Operation.objects.get(action="configuration.write").actor == "staff:olga"
    assert "The change is stored" in owner_client.get(f"{PAGE}?done=1").content.decode()
    assert "Nothing changes" in owner_client.get(address).content.decode()


def test_a_draft_of_an_earlier_version_is_refused(harness: Harness, owner_client: Client) -> None:
    configure(harness)
    tag = tag_of(owner_client.get(draft(**TTL)).content.decode())
    Service.objects.update(max_concurrency=7)
    response = post(owner_client, draft(**TTL), tag)
    assert response.status_code == 412
    assert "Nothing was changed: it was changed since" in response.content.decode()
    assert Route.objects.get(path="/channels").cache == {"ttl": "5m"}


def test_an_operator_sees_a_draft_and_cannot_apply_it(harness: Harness, staff_client: Client) -> None:
    configure(harness)
    page = staff_client.get(draft(**TTL)).content.decode()
    assert "Your account may not configure the gateway" in page
    assert not tag_of(page)
    staff_client.get(PAGE)
    assert staff_client.post(draft(**TTL), {"tag": "x"}).status_code == 403  # no CSRF token
    assert "csrftoken" not in staff_client.cookies or post(staff_client, draft(**TTL), "x").status_code == 403
    assert Client().get(PAGE).status_code == 302
    assert Client().post(draft(**TTL)).status_code == 302
    assert Route.objects.get(path="/channels").cache == {"ttl": "5m"}


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        (TTL | {"value": "soon"}, 400, "This change is not valid"),
        (TTL | {"route": "/nowhere"}, 404, "the configuration has no such setting"),
        (TTL | {"service": "nobody"}, 404, "there is no service"),
        ({"change": "revoke", "key": "nobody"}, 404, "there is no active API key with this prefix"),
        ({"change": "quota", "plan": "pro", "per": "year", "value": "5"}, 404, "has no such quota"),
        ({"change": "quota", "plan": "pro", "per": "day", "value": "-5"}, 404, ""),
        ({"change": "rate", "service": "crm", "value": "9/fortnight"}, 400, "This change is not valid"),
        ({"change": "disable", "service": "crm"}, 404, ""),
    ],
)
def test_a_draft_that_is_not_possible(
    harness: Harness, owner_client: Client, fields: dict[str, str], status: int, words: str
) -> None:
    configure(harness)
    response = owner_client.get(draft(**fields))
    assert response.status_code == status
    assert words in response.content.decode()
    assert not tag_of(response.content.decode())


@pytest.mark.parametrize(
    "query", ["", "change=explode", "change=ttl&service=a%00", "change=breaker&window=" + 21 * "1"]
)
def test_a_query_that_no_page_links_to_is_not_found(harness: Harness, owner_client: Client, query: str) -> None:
    assert owner_client.get(f"{PAGE}draft/?{query}").status_code == 404


def test_every_kind_of_draft_is_applied(harness: Harness, owner_client: Client) -> None:
    configure(harness)
    key = ApiKey.objects.create(name="billing", prefix="abcdefgh", digest="d")
    drafts = [
        {"change": "disable", "service": "crm", "route": "/old"},
        {"change": "rate", "service": "crm", "value": "100/m"},
        {"change": "quota", "plan": "pro", "per": "month", "value": "70"},
        {"change": "ttl", "service": "crm", "value": "10m"},
        {"change": "revoke", "key": "abcdefgh"},
    ]
    for fields in drafts:
        page = owner_client.get(draft(**fields)).content.decode()
        assert post(owner_client, draft(**fields), tag_of(page)).status_code == 302, fields
    document = stored_document()
    crm = document["services"]["crm"]
    assert (crm["rate_limit"], crm["cache"]) == ("100/m", {"ttl": "10m"})
    assert [route.get("enabled", True) for route in crm["routes"]] == [True, True, False]
    assert [quota["amount"] for quota in document["plans"]["pro"]["quota"]] == [100_000, 70]
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert Operation.objects.filter(action__startswith="key.", actor="staff:olga").exists()
    again = post(owner_client, draft(change="revoke", key="abcdefgh"), "")
    assert (again.status_code, "there is no active API key" in again.content.decode()) == (404, True)


def test_a_key_that_was_used_meanwhile_is_not_revoked(harness: Harness, owner_client: Client) -> None:
    key = ApiKey.objects.create(name="billing", prefix="abcdefgh", digest="d")
    address = draft(change="revoke", key="abcdefgh")
    tag = tag_of(owner_client.get(address).content.decode())
    ApiKey.objects.update(last_used_at=datetime.fromtimestamp(NOW, UTC))
    assert post(owner_client, address, tag).status_code == 412
    key.refresh_from_db()
    assert key.revoked_at is None


def test_there_is_no_advice_without_the_database(
    harness: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = staff_client.get(PAGE).content.decode()
    assert page.count("Nothing to change") == 4

    def fail() -> list[Advice]:
        raise DatabaseError

    monkeypatch.setattr(overview, "all_advice", fail)
    assert "There is no advice while the database is unavailable" in staff_client.get(PAGE).content.decode()


def test_what_the_gateway_fetches_again_is_evidence(harness: Harness) -> None:
    policy = RoutePolicy(cache=CachePolicy(ttl=60, scope=Scope.SHARED, stale_if_error=0))
    bodies = [b"a", b"a", b"a", b"b", b"b"]
    harness.serve(*map(ok, bodies), policy=policy)
    for _ in bodies:
        assert harness.request("/api/v1/crm/contacts/1") == 200
        assert harness.request("/api/v1/crm/contacts/1") == 200
        harness.clock.advance(100)
    [(name, found)] = evidence().items()
    assert name == ("crm", "/contacts/{id}")
    assert (sum(found.same.values()), sum(found.changed.values())) == (2, 1)
    assert (found.requests, found.cached) == (10, 5)
