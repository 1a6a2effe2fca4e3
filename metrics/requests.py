"""Requests of the log, for staff's pages and the API: searched from Django's threads, and how one is repeated."""

import shlex
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from metrics.request_log.record import RequestRecord
from metrics.request_log.search import FoundRecord, RequestQuery, SearchResult
from metrics.request_log.store import Position
from metrics.runtime_access import run_on_loop, running
from metrics.timestamps import iso_timestamp
from routing.errors import GatewayError
from routing.models import ConfigurationRevision
from routing.rights import Names, within

_CAMEL: Final = {
    "call": "callError",
    "cache_status": "cacheStatus",
    "cache_key": "cacheKey",
    "cache_rule": "cacheRule",
}


class UnknownRequest(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_request"
    title = "No such request is recorded"


def search(query: RequestQuery, *, before: Position | None, limit: int) -> SearchResult:
    return run_on_loop(running().request_log.search(query, before=before, limit=limit))


def find(identifier: str, names: Names = None) -> SearchResult:
    """The records of a request id, of these services, the latest first. Our own ids may be written in capitals."""
    found = run_on_loop(running().request_log.find(identifier))
    if not found.records and identifier != identifier.lower():
        found = run_on_loop(running().request_log.find(identifier.lower()))
    return SearchResult(
        [each for each in found.records if within(each.record.service, names)], is_shared=found.is_shared
    )


def omitted() -> int:
    """How many requests were not recorded, because too many came at once."""
    return run_on_loop(running().request_log.omitted())


def to_document(found: FoundRecord) -> dict[str, Any]:
    """A record as JSON: `time` is ISO 8601 in UTC, durations are seconds."""
    values = {name: getattr(found.record, name) for name in RequestRecord.__struct_fields__ if name != "at"}
    values["steps"] = [msgspec.structs.asdict(step) for step in found.record.steps]
    values["also"] = list(found.record.also)
    at = iso_timestamp(found.record.at)
    return {"position": str(found.position), "time": at} | {_CAMEL.get(name, name): values[name] for name in values}


def revision_at(record: RequestRecord) -> ConfigurationRevision | None:
    """The latest revision of the configuration when the request began. Raises DatabaseError."""
    began = datetime.fromtimestamp(record.at, UTC)
    return ConfigurationRevision.objects.filter(created_at__lte=began).only("pk", "summary", "created_at").first()


def as_curl(record: RequestRecord) -> str:
    """The request as a command for a POSIX shell. Values of the query are masked, and the credential is a variable."""
    words = ["curl", "-i", "-g"]
    if record.method == "HEAD":
        words.append("--head")
    elif record.method != "GET":
        words += ["-X", shlex.quote(record.method)]
    if record.caller:
        field = "X-API-Key: $API_KEY" if record.key else "Authorization: Bearer $TOKEN"
        words += ["-H", f'"{field}"']
    words.append(shlex.quote(f"{record.scheme}://{record.host or 'localhost'}{record.target_path}"))
    return " ".join(words)


def explain_query(record: RequestRecord) -> str:
    """The query of the admin's page that explains what the gateway would do with the same request now."""
    fields = {"method": record.method, "path": record.target_path, "caller": record.caller, "ip": record.client}
    host = {"headers": f"Host: {record.host}"} if record.host else {}
    return urlencode({name: value for name, value in (fields | host).items() if value})


def trace_url(template: str, record: RequestRecord) -> str:
    """The address of the request's trace; "" without one."""
    return template.replace("{trace_id}", quote(record.trace, safe="")) if template and record.trace else ""
