"""`manage.py connect`: from a token to a service that answers, against an API on a socket."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway_project.served import ROOT, seed
from tests.origin import Peer
from tests.system.backend import Backend

TOKEN = "xoxb-2-abcdefgh"


async def auth_test(peer: Peer) -> None:
    is_known = (b"authorization", f"Bearer {TOKEN}".encode()) in peer.request.fields
    body = json.dumps({"ok": True, "team": "Acme"} if is_known else {"ok": False, "error": "invalid_auth"}).encode()
    fields = b"Content-Type: application/json\r\nCache-Control: private, no-store\r\nContent-Length: %d" % len(body)
    await peer.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + body)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "db.sqlite3").write_bytes(seed()[0])
    own = {"DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3", "REDIS_URL": "", "GATEWAY_SECRET_SLACK_TOKEN": TOKEN}
    own["PORT"] = "8437"
    return os.environ | own


def connect(environment: dict[str, str], url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "connect", "slack", "--no-input", "--set", f"url={url}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_credential_that_is_not_tried_may_be_missing_here_but_not_of_a_wrong_name(
    environment: dict[str, str],
) -> None:
    given = ("http://127.0.0.1:9", "--skip-check", "--set")
    done = connect(environment, *given, "secret=env:GATEWAY_SECRET_ELSEWHERE")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert done.stderr.startswith("warning: GATEWAY_SECRET_ELSEWHERE is not set here")
    refused = connect(environment, *given, "secret=env:ELSEWHERE", "--replace")
    assert refused.returncode == 1
    assert "nothing was written" in refused.stderr
    assert "env:ELSEWHERE is not allowed" in refused.stderr


def test_the_credential_is_tried_through_the_gateway(environment: dict[str, str]) -> None:
    with Backend({"/api/auth.test": auth_test}) as backend:
        url = f"http://127.0.0.1:{backend.port}/api"
        done = connect(environment, url)
        assert done.returncode == 0, done.stderr
        assert "created slackIntelligence" in done.stdout
        assert "the credential works: POST /auth.test returned 200" in done.stdout
        assert 'curl -i -H "X-API-Key: $KEY"' in done.stdout
        assert f"http://127.0.0.1:{environment['PORT']}/api/v1/slackIntelligence/conversations.list" in done.stdout
        assert TOKEN not in done.stdout + done.stderr

        refused = connect({**environment, "GATEWAY_SECRET_SLACK_TOKEN": "xoxb-revoked-1"}, url, "--replace")
        assert refused.returncode == 1
        assert 'POST /auth.test returned 200: {"ok": false, "error": "invalid_auth"}' in refused.stderr
        assert "revoked" not in refused.stdout + refused.stderr
    away = connect(environment, url, "--replace")
    assert away.returncode == 1
    assert "the service is written, but the request failed: " in away.stderr
