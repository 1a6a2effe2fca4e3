"""Replays over HTTP and as a command: equal to what applying does, who may replay, and faults."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from metrics.replay import replay as replays
from metrics.replay.simulation import ReplayTooLong
from routing.database.config_file import digest, stored_document
from routing.database.loader import load
from routing.models import ConfigurationProposal, ConfigurationRevision
from tests.metrics.replay.recorded import RecordedGateway

pytestmark = pytest.mark.django_db

ADDRESS = "/metrics/replay"


def post(client: Client, draft: Any, query: str = "", status: int = 200, **headers: str) -> Any:
    content = draft if isinstance(draft, str) else json.dumps(draft)
    media = "application/yaml" if isinstance(draft, str) else "application/json"
    response = client.post(f"{ADDRESS}?{query}", content, content_type=media, headers=headers)
    assert response.status_code == status, response.content
    return response.json()


def requests(count: dict[str, Any]) -> int:
    return int(count["requests"])


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"rate_limit": "5/m"}, "limited"),
        ({"enabled": False}, "refused"),
        ({"ip": {"deny": ["0.0.0.0/0"]}}, "refused"),
        ({"routes": [{"path": "/contacts", "methods": ["POST"]}]}, "refused"),
        ({"cache": {"ttl": 60}}, "cached"),
        ({"timeout": {"read": "5s"}}, "routed"),
    ],
)
def test_a_replay_equals_what_applying_does(
    recorded: RecordedGateway, owner: Client, settings: dict[str, Any], verdict: str
) -> None:
    before = recorded.send(12)
    forecast = post(owner, recorded.document(**settings))
    assert load(lambda _: None).table.services["crm"].policy.rate_limit is None  # nothing was applied
    recorded.apply(settings)
    after = recorded.send(12)
    assert requests(forecast["replayed"]) == len(before)
    assert requests(forecast["now"]["routed"]) == before.count(200)
    assert requests(forecast["changed"]) == sum(1 for now, then in zip(before, after, strict=True) if now != then) or (
        verdict == "cached"
    )
    found = {"limited": after.count(429), "refused": len(after) - after.count(200), "cached": 11, "routed": 12}
    assert requests(forecast["draft"][verdict]) == found[verdict]


def test_examples_lead_to_their_requests(recorded: RecordedGateway, owner: Client) -> None:
    recorded.send(3)
    result = post(owner, recorded.document(auth="none", rate_limit="1/h"), "service=crm&limit=2")
    assert requests(result["replayed"]) == 2
    (example,) = result["examples"]
    assert (example["now"]["status"], example["draft"]["status"]) == (200, 429)
    assert (example["target"], example["recorded"]["status"]) == ("/api/v1/crm/contacts", 200)
    assert example["differences"] == ["verdict", "status", "code"]
    assert owner.get(f"{ADDRESS[:-7]}/requests/{example['id']}").status_code == 200
    assert result["configuration"]["changed"]["crm"]
    assert "cacheKey" not in example["draft"]
    assert requests(post(owner, recorded.document(), "to=2001-01-01T00:00:00Z")["replayed"]) == 0


def test_a_rollback_is_replayed(recorded: RecordedGateway, owner: Client) -> None:
    recorded.apply({"enabled": False})
    recorded.send(2)
    first = ConfigurationRevision.objects.create(
        actor="a", summary="s", document=json.dumps(recorded.document()), secrets=None
    )
    result = post(owner, "", f"revision={first.pk}")
    assert requests(result["draft"]["routed"]) == 2
    assert result["transitions"] == [{"now": "refused", "draft": "routed", "records": 2, "requests": 2}]
    post(owner, "", "revision=999999", status=404)


def test_a_change_that_waits_for_approval_is_replayed(recorded: RecordedGateway, owner: Client) -> None:
    recorded.send(2)
    settings = recorded.service | {"enabled": False}
    base = digest(stored_document()["services"]["crm"])
    parts = {"crm": {"path": ["services", "crm"], "base": base, "value": settings}}
    proposal = ConfigurationProposal.objects.create(author="a", summary="s", parts=parts, differences={})
    result = post(owner, "", f"proposal={proposal.pk}")
    assert result["transitions"] == [{"now": "routed", "draft": "refused", "records": 2, "requests": 2}]
    page = owner.get(f"/dashboard/replay/?proposal={proposal.pk}").content.decode()
    assert f'<option value="{proposal.pk}" selected>' in page
    parts["crm"]["base"] = "another"
    ConfigurationProposal.objects.filter(pk=proposal.pk).update(parts=parts)
    assert "changed since" in str(post(owner, "", f"proposal={proposal.pk}", status=400))
    assert owner.post("/dashboard/replay/", {"proposal": proposal.pk}).status_code == 200
    post(owner, "", "proposal=999999", status=404)


def test_faults_of_the_draft_have_their_lines(recorded: RecordedGateway, owner: Client) -> None:
    faults = post(owner, "version: 1\nservices:\n  crm:\n    rate_limit: often\n", status=400)["errors"]
    assert {fault["line"] for fault in faults} <= {3, 4}
    assert post(owner, recorded.document(), "limits=1", status=400)["detail"].startswith("unknown parameter")
    times = "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert post(owner, recorded.document(), times, status=400)["detail"] == "the start must not be after the end"
    post(owner, recorded.document(), "limit=0", status=400)
    post(owner, f"# {'x' * 256_000}\n", status=413)


def test_what_runs_is_bounded(recorded: RecordedGateway, owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with replays._running:
        assert post(owner, recorded.document(), status=503)["code"] == "replay_busy"
    recorded.send(1)
    monkeypatch.setattr(replays, "MAX_SECONDS", -1.0)
    assert post(owner, recorded.document(), status=503)["code"] == ReplayTooLong.code


@pytest.mark.parametrize("name", ["config-read", "config-write", "read", "both", "every"])
def test_keys_need_both_scopes(recorded: RecordedGateway, name: str) -> None:
    headers = {"X-API-Key": recorded.harness.keys[name]}
    assert post(Client(), recorded.document(), status=403, **headers)["code"] == "forbidden"


def test_operators_may_not_replay(recorded: RecordedGateway, staff_client: Client) -> None:
    staff_client.handler.enforce_csrf_checks = False
    post(staff_client, recorded.document(), status=403)


def test_a_command_replays_a_file(recorded: RecordedGateway, tmp_path: Path) -> None:
    recorded.send(4)
    draft = tmp_path / "draft.yaml"
    draft.write_text(json.dumps(recorded.document(rate_limit="1/h")))

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("replay", *arguments, stdout=out)
        return out.getvalue()

    lines = run(str(draft))
    assert "3 of 4 requests would end differently" in lines
    assert "3 requests: routed -> limited" in lines
    assert requests(json.loads(run(str(draft), "--json", "--limit", "2"))["draft"]["limited"]) == 1
    draft.write_text("version: 1\nservices: {crm: {targets: 7}}\n")
    with pytest.raises(CommandError, match="targets"):
        run(str(draft))
    for wrong in (["--limit", "0"], ["--from", "noon"], ["--revision", "1"]):
        with pytest.raises(CommandError):
            run(*(wrong if "--revision" in wrong else [str(draft), *wrong]))
