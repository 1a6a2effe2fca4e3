"""The access log contains no credentials."""

import json

from tests.processes import eventually
from tests.system.conftest import Gateway

FIELDS = {
    *("at", "request_id", "method", "path", "status", "duration", "backend", "service", "route", "caller", "client"),
    *("cache", "code", "circuit", "bytes", "aborted", "call", "retries", "target", "reason", "fallback"),
    *("outcome", "level", "logger", "process"),
}
SECRET = "5ecret"


def access_log(gateway: Gateway) -> dict[str, dict[str, object]]:
    """The complete lines of this file's requests, by path."""
    complete = (line for line in gateway.log.split("\n")[:-1] if line.startswith("{"))
    return {str(line["path"]): line for line in map(json.loads, complete) if "/log-" in line["path"]}


def test_every_request_is_one_line_of_json_and_no_credential_is_in_any(either: Gateway) -> None:
    ours = either.seed.ours
    bearer = {"Authorization": f"Bearer ey.{SECRET}.token", "Cookie": f"session={SECRET}"}
    either.get(f"/api/v1/plain/log-1?token={SECRET}", ours)
    either.get(f"/api/v1/plain/log-2?{SECRET}=1", headers=bearer)
    either.request("POST", f"/api/v1/plain/log-3?{SECRET}", headers={"Authorization": f"Bearer {ours}"}, data=SECRET)
    either.get("/api/v1/plain/log-4", f"gw_12345678_{SECRET}")
    either.get(f"/admin/login/?next={SECRET}", headers={"Cookie": f"sessionid={SECRET}"})
    either.get("/api/v1/plain/log-5", ours)
    assert eventually(lambda: len(access_log(either)) == 5)  # two workers write, each with its own delay
    lines = access_log(either)
    assert {path: line["status"] for path, line in lines.items()} == {
        "/api/v1/plain/log-1": 200,
        "/api/v1/plain/log-2": 401,
        "/api/v1/plain/log-3": 200,
        "/api/v1/plain/log-4": 401,
        "/api/v1/plain/log-5": 200,
    }
    assert all(line.keys() == FIELDS for line in lines.values())
    assert lines["/api/v1/plain/log-3"]["caller"] == f"key:{ours.split('_')[1]}"
    assert SECRET not in either.log
    assert ours not in either.log
    assert ours.split("_", 2)[2] not in either.log
