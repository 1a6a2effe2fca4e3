"""Who may subscribe to which topics, and which events they receive."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.policy import CachePolicy, Scope
from routing.caller import Caller
from routing.realtime.topics import (
    TopicRefused,
    check_publishable,
    invalidation_key,
    publication_key,
    subscription_keys,
)
from routing.router.policy import Auth, PathPolicy, RoutePolicy, Target, TrailingSlash
from routing.router.table import RoutePattern, RouteTable, Service
from routing.webhooks.policy import Publish, Verify, Webhook

ADA = Caller("firebase:ada", tenant="acme")
NOBODY = Caller("key:nobody", scopes=frozenset())
CRM_ONLY = Caller("key:crmonly", scopes=frozenset({"crm"}))
EVERYWHERE = Caller("key:every", scopes=frozenset({"*"}))


def cached(*tags: str, scope: Scope = Scope.USER, scopes: tuple[str, ...] = ()) -> RoutePolicy:
    return RoutePolicy(cache=CachePolicy(tags=tags, scope=scope), scopes=scopes)


def service(name: str, *routes: RoutePattern, policy: RoutePolicy | None = None) -> Service:
    return Service(name, (Target("http://127.0.0.1:1"),), policy=policy or RoutePolicy(), routes=routes)


TABLE = RouteTable(
    [
        service("crm", RoutePattern("/contacts", policy=cached("contacts"))),
        service(
            "gmail",
            RoutePattern("/mailboxes/{user}/messages", policy=cached("mailbox:{user}")),
            RoutePattern("/teams/{team}", policy=cached("team:{team}", scope=Scope.TENANT)),
            RoutePattern("/rooms/{room}", policy=cached("room:{room}", scope=Scope.SHARED)),
        ),
        service(
            "drive",
            RoutePattern("/files", policy=cached("files:{caller}")),
            RoutePattern("/folders", policy=cached("folders:{tenant}", scope=Scope.TENANT)),
        ),
        service(
            "slack",
            RoutePattern("/channels", policy=cached("slack:channels", "channels")),
            RoutePattern("/history", policy=cached("channel:{query.channel}")),
            RoutePattern("/public", policy=cached("public:{query.channel}", scope=Scope.SHARED)),
        ),
        service(
            "vault",
            RoutePattern("/x", policy=cached("secrets", scopes=("vault:read",))),
            policy=cached(scopes=("vault:read",)),
        ),
        service("news", policy=cached(scope=Scope.SHARED)),
        service("public", policy=RoutePolicy(auth=Auth.NONE, cache=CachePolicy(scope=Scope.SHARED))),
    ]
)


def allowed(topic: str, caller: Caller = ADA) -> bool:
    try:
        return bool(subscription_keys(topic, caller, TABLE))
    except TopicRefused:
        return False


def test_a_service_topic_is_for_callers_that_may_use_the_service() -> None:
    assert allowed("service:crm", CRM_ONLY)
    assert not allowed("service:gmail", CRM_ONLY)
    assert not allowed("service:vault")
    assert not allowed("service:nope")


def test_topics_of_a_service_without_authentication_are_for_every_caller() -> None:
    assert allowed("service:public", CRM_ONLY)
    assert allowed("resource:/api/v1/public/x", CRM_ONLY)
    with pytest.raises(TopicRefused):
        check_publishable("service:public", CRM_ONLY, TABLE)


def test_a_tag_topic_covers_the_services_that_declare_it_and_that_the_caller_may_use() -> None:
    assert invalidation_key("slack", "slack:channels") in subscription_keys("tag:slack:channels", EVERYWHERE, TABLE)
    assert not allowed("tag:slack:channels", CRM_ONLY)
    assert not allowed("tag:secrets")
    assert not allowed("tag:never-declared")


def test_a_tag_may_be_qualified_by_a_service() -> None:
    assert subscription_keys("tag:crm:contacts", ADA, TABLE) == (
        publication_key("tag:crm:contacts", TABLE),
        invalidation_key("crm", "contacts"),
        invalidation_key("crm", "crm"),
    )
    assert not allowed("tag:vault:secrets")


def test_a_tag_declared_only_by_responses_is_allowed_if_all_callers_share_them() -> None:
    assert allowed("tag:news:frontpage")
    assert not allowed("tag:crm:surrogate")


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("tag:mailbox:ada", True),
        ("tag:mailbox:bob", False),
        ("tag:gmail:mailbox:bob", False),
        ("resource:/api/v1/gmail/mailboxes/ada/messages", True),
        ("resource:/api/v1/gmail/mailboxes/bob/messages", False),
        ("resource:/api/v1/gmail/mailboxes/b%6Fb/messages", False),
        ("tag:team:acme", True),
        ("tag:team:other", False),
        ("tag:room:7", True),
        ("tag:files:firebase:ada", True),
        ("tag:files:firebase:bob", False),
        ("tag:files:ada", False),
        ("tag:folders:acme", True),
        ("tag:folders:other", False),
        ("caller:firebase:ada", True),
        ("caller:firebase:bob", False),
        ("tenant:acme", True),
        ("tenant:other", False),
    ],
)
def test_a_topic_of_another_caller_is_refused(topic: str, expected: bool) -> None:
    assert allowed(topic) is expected


def test_a_resource_with_caller_tags_covers_the_callers_own_tags() -> None:
    assert invalidation_key("drive", "files:firebase:ada") in subscription_keys(
        "resource:/api/v1/drive/files", ADA, TABLE
    )
    assert invalidation_key("drive", "folders:acme") in subscription_keys("resource:/api/v1/drive/folders", ADA, TABLE)


def test_a_resource_topic_covers_its_tags_and_its_whole_service() -> None:
    assert set(subscription_keys("resource:/api/v1/slack/channels?a=1", ADA, TABLE)) == {
        publication_key("resource:/api/v1/slack/channels?a=1", TABLE),
        invalidation_key("slack", "slack:channels"),
        invalidation_key("slack", "channels"),
        invalidation_key("slack", "slack"),
    }
    assert not allowed("resource:/api/v1/vault/x")
    assert not allowed("resource:/elsewhere")


def test_a_resource_whose_tags_name_parameters_of_the_query_is_for_whom_these_name() -> None:
    path = "resource:/api/v1/slack"
    assert not allowed(f"{path}/history?channel=C1")
    assert allowed(f"{path}/history?channel=ada@example.com") is ("ada@example.com" in ADA.names)
    cached_one = subscription_keys(f"{path}/history?channel=C1", ADA, TABLE, is_cached=True)
    assert invalidation_key("slack", "channel:C1") in cached_one
    assert invalidation_key("slack", "public:C1") in subscription_keys(f"{path}/public?channel=C1", ADA, TABLE)
    assert not allowed("tag:channel:C1")


@pytest.mark.parametrize("topic", ["", "service:", "a b", "-x", "x" * 501, "a\nb", "tag:\x00", "caller:"])
def test_a_malformed_topic_is_refused(topic: str) -> None:
    with pytest.raises(TopicRefused):
        subscription_keys(topic, EVERYWHERE, TABLE)


@given(st.text(max_size=60), st.sampled_from(["", "service:", "tag:", "resource:/api/v1/", "caller:"]))
def test_a_caller_without_rights_gets_only_free_topics(rest: str, kind: str) -> None:
    topic = kind + rest
    try:
        keys = subscription_keys(topic, NOBODY, TABLE)
    except TopicRefused:
        return
    assert keys == (publication_key(topic, TABLE),)
    assert not topic.startswith(("service:", "tag:", "resource:", "tenant:"))


def test_publishing_on_a_services_topic_needs_access_to_the_service() -> None:
    check_publishable("orders.created", CRM_ONLY, TABLE)
    check_publishable("caller:firebase:bob", CRM_ONLY, TABLE)
    check_publishable("service:crm", CRM_ONLY, TABLE)
    check_publishable("resource:/api/v1/crm/contacts", CRM_ONLY, TABLE)
    for topic in ("service:gmail", "resource:/api/v1/gmail/x", "tag:mailbox:ada", "tag:nowhere", "service:nope"):
        with pytest.raises(TopicRefused):
            check_publishable(topic, CRM_ONLY, TABLE)


@pytest.mark.parametrize(
    "path",
    ["/contacts", "/con%74acts", "/%63ontacts/", "/contacts/"],
)
def test_a_publication_on_any_spelling_of_a_path_reaches_the_subscribers_of_every_other(path: str) -> None:
    key = publication_key(f"resource:/api/v1/crm{path}", TABLE)
    assert key in subscription_keys("resource:/api/v1/crm/contacts", ADA, TABLE)
    assert key in subscription_keys("resource:/api/v1/crm/%63ontacts", ADA, TABLE)
    check_publishable(f"resource:/api/v1/crm{path}", CRM_ONLY, TABLE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/x", "/X"),
        ("/x", "//x"),
        ("/x%2Fy", "/x/y"),
        ("/x;v=1", "/x"),
        ("/x?a=1", "/x"),
        ("/x?a=1", "/x?a=2"),
        ("/x%3Fa=1", "/x?a=1"),
        ("/x%253F", "/x%3F"),
    ],
)
def test_paths_that_only_some_servers_equate_are_different_topics(one: str, other: str) -> None:
    keys = [publication_key(f"resource:/api/v1/crm{path}", TABLE) for path in (one, other)]
    assert keys[0] != keys[1]


def test_the_settings_of_a_service_say_which_paths_are_the_same() -> None:
    settings = PathPolicy(case_sensitive=False, trailing_slash=TrailingSlash.STRICT)
    table = RouteTable([msgspec.structs.replace(TABLE.services["crm"], paths=settings)])

    def key(path: str) -> str:
        return publication_key(f"resource:/api/v1/crm{path}", table)

    assert key("/x") == key("/X") == key("/%58")
    assert key("/x") != key("/x/")
    assert key("/x%3Fy") != key("/x?y")


def test_a_resource_of_no_service_has_a_key_of_its_own() -> None:
    for topic in ("resource:/api/v1/nope/%61", "resource:/nope", "resource:/api/v1/"):
        assert publication_key(topic, TABLE) == f"pub|{topic}"
        with pytest.raises(TopicRefused):
            check_publishable(topic, EVERYWHERE, TABLE)


def test_a_resource_with_a_query_can_be_published() -> None:
    check_publishable("resource:/api/v1/slack?limit=5", EVERYWHERE, TABLE)
    with pytest.raises(TopicRefused):
        check_publishable("resource:/api/v1/slack?limit=5", CRM_ONLY, TABLE)


@given(st.text(alphabet="aA%/4 1?;.2fé", max_size=30))
def test_a_topic_receives_what_is_published_on_it(path: str) -> None:
    topic = f"resource:/api/v1/news/{path}"
    if allowed(topic):
        assert publication_key(topic, TABLE) in subscription_keys(topic, ADA, TABLE)


def test_what_a_webhook_publishes_is_for_those_who_may_use_its_service() -> None:
    published = Publish(topic="slack:{event.type}")
    hooks = [
        Webhook(name="slack", verify=Verify.SLACK, service="crm", publish=published),
        Webhook(name="open", verify=Verify.SLACK, publish=Publish(topic="open:{event.type}")),
        Webhook(name="own", verify=Verify.SLACK, service="crm", publish=Publish(topic="caller:{user}")),
        Webhook(name="gone", verify=Verify.SLACK, service="nothing", publish=Publish(topic="gone:{x}")),
    ]
    table = RouteTable(TABLE.services.values(), webhooks=hooks)
    for caller in (CRM_ONLY, EVERYWHERE, ADA):
        assert subscription_keys("slack:message", caller, table) == ("pub|slack:message",)
    for topic in ("slack:message", "slack:", "gone:x"):
        with pytest.raises(TopicRefused):
            subscription_keys(topic, NOBODY, table)
    assert subscription_keys("open:message", NOBODY, table)
    assert subscription_keys("slacker:message", NOBODY, table)
    assert subscription_keys("caller:key:nobody", NOBODY, table)
    assert subscription_keys("slack:message", NOBODY, TABLE)


@pytest.mark.parametrize("topic", ["gateway:keys", "gateway:quotas"])
def test_the_gateway_s_own_topics_are_for_operators_and_nobody_publishes_on_them(topic: str) -> None:
    reader = Caller("key:reader", scopes=frozenset({"metrics:read"}))
    assert subscription_keys(topic, reader, TABLE) == (f"pub|{topic}",)
    for caller in (ADA, CRM_ONLY, EVERYWHERE):
        with pytest.raises(TopicRefused) as refused:
            subscription_keys(topic, caller, TABLE)
        assert refused.value.code == "forbidden"
    publisher = Caller("key:writer", scopes=frozenset({"*", "metrics:read", "events:publish"}))
    with pytest.raises(TopicRefused):
        check_publishable(topic, publisher, TABLE)
    with pytest.raises(TopicRefused) as refused:
        subscription_keys("gateway:else", reader, TABLE)
    assert refused.value.code == "bad_topic"
