"""slack_sdk, synchronous and asynchronous, with only the address and the token changed."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from tests.sdk.conftest import Gateway

BACKEND = "slackIntelligence"
INCIDENTS = "C08410377"


@pytest.fixture
def slack(gateway: Gateway) -> WebClient:
    return WebClient(gateway.key, base_url=gateway.base("slack"))


@pytest.fixture
def async_slack(gateway: Gateway) -> AsyncWebClient:
    return AsyncWebClient(gateway.key, base_url=gateway.base("slack"))


def test_the_token_that_reaches_slack_is_the_gateways(slack: WebClient, gateway: Gateway) -> None:
    assert slack.auth_test()["user_id"] == "U0GATEWAY"
    with pytest.raises(SlackApiError) as refused:
        WebClient(gateway.key, base_url=f"http://127.0.0.1:{gateway.ports[BACKEND]}/api").auth_test()
    assert refused.value.response["error"] == "invalid_auth"


def test_a_key_that_the_gateway_does_not_know_is_an_error_of_the_sdk(gateway: Gateway) -> None:
    with pytest.raises(SlackApiError) as refused:
        WebClient("gw_unknown", base_url=gateway.base("slack")).auth_test()
    assert refused.value.response.status_code == 401
    assert refused.value.response["code"] == "unauthenticated"


def test_the_sdk_pages_through_a_list(slack: WebClient) -> None:
    assert [len(page["members"]) for page in slack.users_list(limit=7)] == [7, 7, 6]


def test_a_message_that_is_posted_is_in_the_next_history(slack: WebClient) -> None:
    slack.conversations_history(channel=INCIDENTS)
    text = f"posted {uuid.uuid4()}"
    posted = slack.chat_postMessage(channel=INCIDENTS, text=text)
    reply = slack.chat_postMessage(channel=INCIDENTS, text="a reply", thread_ts=posted["ts"])
    history = slack.conversations_history(channel=INCIDENTS, limit=1, oldest="0", latest=reply["ts"])
    replies = slack.conversations_replies(channel=INCIDENTS, ts=posted["ts"])
    assert history["messages"][0]["text"] == text
    assert [message["text"] for message in replies["messages"]] == [text, "a reply"]


def test_a_message_that_is_changed_is_in_the_next_history_as_it_is(slack: WebClient) -> None:
    def newest() -> dict[str, Any]:
        found: dict[str, Any] = slack.conversations_history(channel=INCIDENTS, limit=1)["messages"][0]
        return found

    posted = slack.chat_postMessage(channel=INCIDENTS, text=f"posted {uuid.uuid4()}")
    former = newest()
    slack.chat_update(channel=INCIDENTS, ts=posted["ts"], text="changed")
    assert newest()["text"] == "changed"
    slack.reactions_add(channel=INCIDENTS, timestamp=posted["ts"], name="eyes")
    assert newest()["reactions"][0]["name"] == "eyes"
    slack.chat_delete(channel=INCIDENTS, ts=posted["ts"])
    assert newest()["ts"] != former["ts"]
    with pytest.raises(SlackApiError) as missing:
        slack.chat_delete(channel=INCIDENTS, ts=posted["ts"])
    assert missing.value.response["error"] == "message_not_found"


def test_a_file_that_is_uploaded_is_in_the_next_history(slack: WebClient) -> None:
    slack.conversations_history(channel=INCIDENTS)
    comment = f"The log of {uuid.uuid4()}"
    shared = slack.files_upload_v2(
        channel=INCIDENTS, initial_comment=comment, content="text " * 20_000, filename="a.log", title="Log"
    )
    newest = slack.conversations_history(channel=INCIDENTS)["messages"][0]
    assert (newest["text"], newest["files"][0]["id"]) == (comment, shared["files"][0]["id"])
    assert newest["files"][0]["size"] == 100_000


def test_what_is_written_is_in_the_next_read_of_the_same_arguments(slack: WebClient) -> None:
    slack.conversations_history(channel=INCIDENTS)
    text, name = f"posted {uuid.uuid4()}", f"c-{uuid.uuid4().hex[:8]}"
    slack.chat_postMessage(channel="#incidents", text=text)
    assert slack.conversations_history(channel=INCIDENTS)["messages"][0]["text"] == text
    slack.conversations_list()
    slack.conversations_create(name=name)
    assert name in {channel["name"] for channel in slack.conversations_list()["channels"]}


@pytest.mark.parametrize("error", ["channel_not_found", "internal_error", "token_revoked", "missing_scope"])
def test_an_error_in_a_200_reaches_the_sdk_and_is_not_stored(
    slack: WebClient, failing: Callable[..., None], error: str
) -> None:
    failing(BACKEND, "team.info", error)
    with pytest.raises(SlackApiError) as failed:
        slack.team_info(domain=error)
    assert failed.value.response["error"] == error
    failing(BACKEND, "other", error)
    assert slack.team_info(domain=error)["team"]["name"] == "Company"


def test_a_429_reaches_the_sdk_with_the_time_to_wait(gateway: Gateway, slack: WebClient) -> None:
    gateway.set(BACKEND, errors={"search.messages": "ratelimited"})
    with pytest.raises(SlackApiError) as limited:
        slack.search_messages(query="x")
    assert limited.value.response.status_code == 429
    assert 0 < int(limited.value.response.headers["Retry-After"]) <= 60


def test_reads_by_post_are_answered_from_the_cache(slack: WebClient, gateway: Gateway) -> None:
    before = gateway.calls(BACKEND, "conversations.members")
    answers = [slack.conversations_members(channel=INCIDENTS, limit=5) for _ in range(3)]
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "HIT", "HIT"]
    assert gateway.calls(BACKEND, "conversations.members") == before + 1
    assert slack.conversations_members(channel=INCIDENTS, limit=6).headers["x-cache"] == "MISS"


def test_the_sdks_handler_of_limits_waits_as_long_as_it_is_told(gateway: Gateway, slack: WebClient) -> None:
    slack.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=3))
    gateway.set(BACKEND, limits=True)
    texts = [str(slack.chat_postMessage(channel="#deployments", text=f"in a row: {n}")["message"]) for n in range(2)]
    assert len(texts) == 2


async def test_the_asynchronous_client_reads_writes_and_pages(async_slack: AsyncWebClient) -> None:
    names = []
    async for page in await async_slack.conversations_list(limit=2):
        names += [channel["name"] for channel in page["channels"]]
    posted = await async_slack.chat_postMessage(channel="#sales-emea", text="Pipeline review", blocks=[])
    assert {"deployments", "incidents"} <= set(names)
    assert posted["message"]["text"] == "Pipeline review"


async def test_the_asynchronous_client_uploads_files(async_slack: AsyncWebClient) -> None:
    uploads = [{"content": f"{n}", "filename": f"{n}.txt", "title": f"File {n}"} for n in range(2)]
    shared = await async_slack.files_upload_v2(channel=INCIDENTS, file_uploads=uploads)
    assert [file["title"] for file in shared["files"]] == ["File 0", "File 1"]


async def test_an_error_reaches_the_asynchronous_client(async_slack: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as failed:
        await async_slack.users_info(user="U0NOBODY")
    assert failed.value.response["error"] == "user_not_found"
