"""The log of a session in which callers send what nobody else may read."""

import json

from tests.processes import eventually
from tests.system.conftest import Gateway

FIELDS = {
    *("at", "request_id", "method", "path", "status", "duration", "backend", "service", "route", "caller", "client"),
    *("cache", "code", "circuit", "bytes", "aborted", "call", "retries"),
}
SECRET = "5ecret"


def lines(gateway: Gateway) -> list[dict[str, object]]:
    return [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]


def test_every_request_is_one_line_of_json_and_no_credential_is_in_any(either: Gateway) -> None:
    ours = either.seed.ours
    bearer = {"Authorization": f"Bearer ey.{SECRET}.token", "Cookie": f"session={SECRET}"}
    either.get(f"/api/v1/plain/log-1?token={SECRET}", ours)
    either.get(f"/api/v1/plain/log-2?{SECRET}=1", headers=bearer)
    either.ask("POST", f"/api/v1/plain/log-3?{SECRET}", headers={"Authorization": f"Bearer {ours}"}, data=SECRET)
    either.get("/api/v1/plain/log-4", f"gw_12345678_{SECRET}")
    either.get(f"/admin/login/?next={SECRET}", headers={"Cookie": f"sessionid={SECRET}"})
    either.get("/api/v1/plain/log-5", ours, headers={"X-Request-ID": "the-last"})
    assert eventually(lambda: '"the-last"' in either.log)
    told = {line["path"]: line for line in lines(either) if "log-" in str(line["path"])}
    assert {path: line["status"] for path, line in told.items()} == {
        "/api/v1/plain/log-1": 200,
        "/api/v1/plain/log-2": 401,
        "/api/v1/plain/log-3": 200,
        "/api/v1/plain/log-4": 401,
        "/api/v1/plain/log-5": 200,
    }
    assert all(line.keys() == FIELDS for line in told.values())
    assert told["/api/v1/plain/log-3"]["caller"] == f"key:{ours.split('_')[1]}"
    assert SECRET not in either.log
    assert ours not in either.log
    assert ours.split("_", 2)[2] not in either.log
