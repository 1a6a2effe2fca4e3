"""Google's side of watches, in memory: what Gmail and Calendar keep, and how they answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from routing.http import Request, Response

WEEK = 7 * 86_400.0


@dataclass
class Google:
    """`faults` are answered first, in this order: a response, or an exception to raise. `lost` channels are made, and
    the response to their request is not.
    """

    clock: Callable[[], float]
    lifetime: float = WEEK
    mailboxes: dict[str, tuple[str, float]] = field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, Any, str]] = field(default_factory=list)
    tenants: list[str | None] = field(default_factory=list)
    faults: list[Response | Exception] = field(default_factory=list)
    lost: list[Exception] = field(default_factory=list)

    async def refetch(self, request: Request) -> Response:
        body = b"".join([chunk async for chunk in request.body]) if request.body else b""
        path = request.path.decode().removeprefix("/api/v1/google")
        given = json.loads(body) if body else {}
        assert request.caller is not None
        self.requests.append((path, given, request.caller.id))
        self.tenants.append(request.caller.tenant)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            if isinstance(fault, Exception):
                raise fault
            return fault
        response = self._answer(path, given)
        if self.lost:
            raise self.lost.pop(0)
        return response

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def _answer(self, path: str, given: dict[str, Any]) -> Response:
        until = self.clock() + self.lifetime
        user = path.split("/")[-2]
        if path.endswith("/channels/stop"):
            return self._stop_channel(given)
        if path.endswith("/stop"):
            self.mailboxes.pop(user, None)
            return Response(204)
        return self._watch(user, given, until) if path.startswith("/gmail") else self._open(path, given, until)

    def _watch(self, user: str, given: dict[str, Any], until: float) -> Response:
        topic = self.mailboxes.get(user, (given["topicName"], 0.0))[0]
        if topic != given["topicName"]:
            return error(400, "failedPrecondition", "Only one user push notification client allowed per developer")
        self.mailboxes[user] = given["topicName"], until
        return ok({"historyId": "41", "expiration": str(int(until * 1_000))})

    def _stop_channel(self, given: dict[str, Any]) -> Response:
        channel = self.channels.get(given["id"])
        if channel is None or channel["resourceId"] != given["resourceId"]:
            return error(404, "notFound")
        del self.channels[given["id"]]
        return Response(204)

    def _open(self, path: str, given: dict[str, Any], until: float) -> Response:
        if given["id"] in self.channels:
            return error(400, "channelIdNotUnique")
        calendar = path.split("/")[-3]
        uri = f"https://www.googleapis.com/calendar/v3/calendars/{calendar}/events?alt=json"
        made = {"resourceId": f"resource-{calendar}", "resourceUri": uri, "expiration": str(int(until * 1_000))}
        self.channels[given["id"]] = {**made, "token": given["token"]}
        return ok({"kind": "api#channel", "id": given["id"], **made})


def ok(document: Any) -> Response:
    return Response(200, [(b"content-type", b"application/json")], json.dumps(document).encode())


def error(status: int, reason: str, message: str = "no", **fields: str) -> Response:
    body = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Response(status, headers, json.dumps(body).encode())
