"""Events from a client's side: over WebSockets, as server-sent events, and published."""

import asyncio

import msgspec
import pytest
import requests
from websockets.exceptions import InvalidStatus

from tests.gateway_project.served import TOPIC, Served, close_code, numbers, read, subscribed


async def test_subscribers_on_both_workers_receive_every_event_once_and_in_order(served: Served) -> None:
    sockets = [await subscribed(served) for _ in range(40)]
    publishing = asyncio.create_task(asyncio.to_thread(lambda: [served.publish(number) for number in range(50)]))
    assert await asyncio.gather(*(numbers(ws, 50) for ws in sockets)) == [list(range(50))] * 40
    await publishing
    await asyncio.gather(*(ws.close() for ws in sockets))


async def test_a_token_can_be_a_subprotocol_and_is_not_echoed(served: Served) -> None:
    ws = await subscribed(
        served, additional_headers={}, subprotocols=["bearer", served.key], origin=f"http://127.0.0.1:{served.port}"
    )
    assert ws.subprotocol == "bearer"
    await ws.close()


async def test_a_token_can_be_the_first_message(served: Served) -> None:
    async with served.socket(additional_headers={}) as ws:
        await ws.send(msgspec.json.encode({"type": "auth", "token": served.key}).decode())
        assert (await read(ws))["type"] == "authenticated"
        await ws.send(TOPIC)
        assert (await read(ws))["topics"] == ["news"]


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_another_origin_is_refused(served: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket(origin=origin)


async def test_an_invalid_credential_is_refused(served: Served) -> None:
    async with served.socket(additional_headers={"Authorization": "Bearer junk"}) as ws:
        assert await close_code(ws) == 4401


async def test_topics_without_permission_are_refused(served: Served) -> None:
    async with served.socket(additional_headers={"X-API-Key": served.unprivileged_key}) as ws:
        await ws.send('{"type":"subscribe","topics":["service:crm","tag:mailbox:bob","resource:/api/v1/crm/x"]}')
        message = await read(ws)
        assert message["topics"] == []
        assert [refused["code"] for refused in message["refused"]] == ["forbidden"] * 3


async def test_revoking_a_key_closes_its_sockets(served: Served) -> None:
    ws = await subscribed(served, additional_headers={"X-API-Key": served.revocable_key})
    await asyncio.to_thread(served.manage, "apikey", "revoke", served.revocable_key.split("_")[1])
    assert await close_code(ws) == 4401


async def test_an_opening_circuit_is_announced(served: Served) -> None:
    async with served.socket() as ws:
        await ws.send('{"type":"subscribe","topics":["service:crm"]}')
        assert (await read(ws))["topics"] == ["service:crm"]
        headers = {"X-API-Key": served.key}
        response = await asyncio.to_thread(
            lambda: requests.get(f"{served.url}/api/v1/crm/x", headers=headers, timeout=20)
        )
        assert response.status_code == 502
        message = await read(ws)
        assert (message["type"], message["data"]["after"]) == ("circuit", "OPEN")


async def test_fragments_and_control_frames_are_assembled(served: Served) -> None:
    async with served.socket() as ws:
        await ws.send(["{", '"type":', '"ping"}'])
        await ws.ping()
        assert (await read(ws))["type"] == "pong"


def test_server_sent_events_resume_with_missed_events(served: Served) -> None:
    first = served.publish(1).json()["id"]
    served.publish({"text": "a\nb"})
    headers = {"X-API-Key": served.key, "Last-Event-ID": first}
    with requests.get(f"{served.url}/events?topics=news", headers=headers, stream=True, timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in response.iter_lines() if line.startswith(b"data: {"))
        assert msgspec.json.decode(next(lines)[6:])["data"] == {"text": "a\nb"}
        served.publish(3)
        assert msgspec.json.decode(next(lines)[6:])["data"] == 3
