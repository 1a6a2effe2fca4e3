"""The HubSpot CRM API, version 3, for contacts (developers.hubspot.com/docs/api/crm/contacts)."""

import json
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from routing.demo.contacts import PROPERTIES, Contact, Contacts
from routing.demo.controls import Controls, fields, reply
from routing.demo.hubspot_search import matches
from routing.demo.json_backend import JsonObject, json_body
from routing.demo.webhooks import hubspot_fields

SECONDS: Final = 0.2
PER_DAY, PER_TEN_SECONDS, SEARCHES_PER_SECOND = 250_000, 100, 4
COOKIE: Final = "__cf_bm=demonstration; path=/; domain=.hubapi.example; HttpOnly; Secure; SameSite=None"
DEFAULT_PROPERTIES: Final = ("firstname", "lastname", "email")
PORTAL: Final = 62_515
Result = tuple[Any, int]
ApiMethod = Callable[[web.Request, JsonObject], Result]


class HubSpotError(Exception):
    def __init__(self, status: int, category: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), "category": category}
        self.body |= details


class HubSpotApi:
    def __init__(self, contacts: Contacts, controls: Controls) -> None:
        self._contacts = contacts
        self._controls = controls
        self._issued: dict[str, float] = {}
        self._events = 0

    def attach(self, backend: web.Application) -> None:
        objects = "/crm/v3/objects/contacts"
        operations: tuple[tuple[str, str, str, ApiMethod], ...] = (
            ("GET", objects, "contacts.list", self._list),
            ("POST", objects, "contacts.create", self._create),
            ("POST", f"{objects}/search", "contacts.search", self._search),
            ("POST", f"{objects}/batch/read", "contacts.batch.read", self._batch_read),
            ("GET", f"{objects}/{{id}}", "contacts.get", self._get),
            ("PATCH", f"{objects}/{{id}}", "contacts.update", self._update),
            ("DELETE", f"{objects}/{{id}}", "contacts.archive", self._archive),
            ("GET", "/crm/v3/properties/contacts", "properties.list", _properties),
        )
        for method, path, operation, run in operations:
            backend.router.add_route(method, path, partial(self._call, operation, run))
        backend.router.add_post("/oauth/v1/token", self._issue)

    async def _call(self, operation: str, run: ApiMethod, request: web.Request) -> web.Response:
        self._controls.calls[operation] += 1
        headers: dict[str, str] = {}
        try:
            self._check_token(request)
            headers = self._limit(operation)
            await self._controls.wait(SECONDS)
            body, status = run(request, await json_body(request) if request.can_read_body else {})
        except HubSpotError as error:
            body, status = error.body, error.status
        headers |= {"X-HubSpot-Correlation-Id": str(uuid.uuid4()), "Set-Cookie": COOKIE}
        return web.Response(status=204, headers=headers) if status == 204 else reply(body, status, headers)

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        required, given = self._controls.settings.token, token if scheme.lower() == "bearer" else None
        if given in self._issued:
            accepted = time.monotonic() < self._issued[given or ""]
        elif given is None:
            accepted = required is None
        else:
            accepted = given == required if required is not None else given.startswith("pat-")
        if not accepted:
            message = "Authentication credentials not found. This API supports OAuth 2.0 authentication."
            raise HubSpotError(401, "INVALID_AUTHENTICATION", message)

    def _limit(self, operation: str) -> dict[str, str]:
        """The header fields of the remaining quotas. Raises HubSpotError once one is used up."""
        error = self._controls.settings.errors.get(operation)
        if error is not None:
            raise HubSpotError(429 if error == "RATE_LIMITS" else 500, error, error)
        if operation == "contacts.search":
            remaining, _ = self._controls.use("search", SEARCHES_PER_SECOND, 1.0)
            if remaining < 0:
                raise _limited("SECONDLY")
            return {}  # responses of searches have no quotas
        second, _ = self._controls.use("all", PER_TEN_SECONDS, 10.0)
        day, _ = self._controls.use("all", PER_DAY, 86_400.0)
        if second < 0 or day < 0:
            raise _limited("TEN_SECONDLY_ROLLING" if second < 0 else "DAILY")
        return {
            "X-HubSpot-RateLimit-Daily": str(PER_DAY),
            "X-HubSpot-RateLimit-Daily-Remaining": str(day),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(PER_TEN_SECONDS),
            "X-HubSpot-RateLimit-Remaining": str(second),
            "X-HubSpot-RateLimit-Secondly": str(PER_TEN_SECONDS // 10),
            "X-HubSpot-RateLimit-Secondly-Remaining": str(second // 10),
        }

    def _list(self, request: web.Request, _: JsonObject) -> Result:
        return _paged(list(self._contacts.contacts.values()), request.query.get("limit"), _options(request)), 200

    def _get(self, request: web.Request, _: JsonObject) -> Result:
        return _shown(self._find(request), _names(_options(request)["properties"])), 200

    def _search(self, _: web.Request, given: JsonObject) -> Result:
        found = [contact for contact in self._contacts.contacts.values() if matches(contact, given)]
        names = given.get("properties") or DEFAULT_PROPERTIES
        options = {"after": str(given.get("after") or ""), "properties": ",".join(map(str, names))}
        return {"total": len(found), **_paged(found, given.get("limit"), options)}, 200

    def _batch_read(self, _: web.Request, given: JsonObject) -> Result:
        """207 if some of the contacts do not exist."""
        keys = [str(item.get("id")) for item in given.get("inputs") or ()]
        found = {key: self._contacts.find(key) for key in keys}
        names = given.get("properties") or DEFAULT_PROPERTIES
        results = [_shown(contact, names) for contact in found.values() if contact is not None]
        missing = [key for key, contact in found.items() if contact is None]
        now = "2026-11-29T08:00:00.000Z"
        body: JsonObject = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if not missing:
            return body, 200
        errors = [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some CONTACT objects"}]
        return body | {"numErrors": 1, "errors": [errors[0] | {"context": {"ids": missing}}]}, 207

    def _create(self, _: web.Request, given: JsonObject) -> Result:
        properties = _valid(given)
        if "email" in properties and (existing := self._contacts.with_email(properties["email"])):
            raise HubSpotError(409, "CONFLICT", f"Contact already exists. Existing ID: {existing.key}")
        contact = self._contacts.add(properties)
        self._report(contact, "contact.creation")
        return _shown(contact, tuple(PROPERTIES)), 201

    def _update(self, request: web.Request, given: JsonObject) -> Result:
        contact, properties = self._find(request), _valid(given)
        self._contacts.change(contact, properties)
        for name, value in properties.items():
            self._report(contact, "contact.propertyChange", propertyName=name, propertyValue=value)
        return _shown(contact, tuple(PROPERTIES)), 200

    def _archive(self, request: web.Request, _: JsonObject) -> Result:
        contact = self._find(request)
        del self._contacts.contacts[contact.key]
        self._report(contact, "contact.deletion")
        return None, 204

    def _find(self, request: web.Request) -> Contact:
        contact = self._contacts.find(request.match_info["id"])
        if contact is None:
            raise HubSpotError(404, "OBJECT_NOT_FOUND", "resource not found")
        return contact

    def _report(self, contact: Contact, kind: str, **details: str) -> None:
        """Send an event to the webhook, if one is set."""
        target = self._controls.settings.webhook
        if target is None:
            return
        self._events += 1
        event: JsonObject = {
            "eventId": self._events,
            "subscriptionId": 1,
            "portalId": PORTAL,
            "appId": 1,
            "attemptNumber": 0,
        }
        event |= {"occurredAt": int(time.time() * 1_000), "objectId": contact.key, "changeSource": "CRM"}
        body = json.dumps([{**event, "subscriptionType": kind, **details}]).encode()
        url, secret = target.url, target.secret
        self._controls.sender.send(url, body, lambda _: hubspot_fields(secret, url, body))

    async def _issue(self, request: web.Request) -> web.Response:
        """An access token for a refresh token (RFC 6749 section 6)."""
        given = await fields(request)
        self._controls.calls["token"] += 1
        token = given.get("refresh_token", "")
        if given.get("grant_type") != "refresh_token" or not token.startswith("na1-") or "revoked" in token:
            message = "missing or invalid refresh token"
            return reply({"status": "BAD_REFRESH_TOKEN", "message": message, "error": "invalid_grant"}, 400)
        if len(self._issued) >= 10_000:
            self._issued.clear()
        access, seconds = f"CJdemo-{self._controls.calls['token']}", min(1_800, self._controls.settings.token_seconds)
        self._issued[access] = time.monotonic() + seconds
        return reply({"token_type": "bearer", "refresh_token": token, "access_token": access, "expires_in": seconds})


def _limited(policy: str) -> HubSpotError:
    message = f"You have reached your {policy.lower()} limit."
    group = f"publicapi:private-apps-api-calls-{policy.lower()}:{PORTAL}"
    return HubSpotError(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy, groupName=group)


def _properties(_: web.Request, __: JsonObject) -> Result:
    results = [
        {"name": name, "label": label, "type": "string", "fieldType": "text", "groupName": "contactinformation"}
        | {"description": "", "options": [], "hidden": False, "formField": True}
        for name, label in PROPERTIES.items()
    ]
    return {"results": results}, 200


def _shown(contact: Contact, names: tuple[str, ...]) -> JsonObject:
    created, updated = (at.strftime("%Y-%m-%dT%H:%M:%S.000Z") for at in (contact.created, contact.updated))
    properties: dict[str, str | None] = {name: contact.properties.get(name) for name in names}
    properties |= {"hs_object_id": str(contact.key), "createdate": created, "lastmodifieddate": updated}
    return {
        "id": str(contact.key),
        "properties": properties,
        "createdAt": created,
        "updatedAt": updated,
        "archived": False,
    }


def _options(request: web.Request) -> dict[str, str]:
    """`after` and `properties`, which may be repeated or separated by commas."""
    query = request.query
    return {"after": query.get("after", ""), "properties": ",".join(query.getall("properties", []))}


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(given.split(",")) if given else DEFAULT_PROPERTIES


def _paged(contacts: list[Contact], size: object, options: dict[str, str]) -> JsonObject:
    """The page after the contact `after`, with the next `after` if there are more."""
    try:
        limit, begin = int(str(size or 10)), int(options.get("after") or 0)
    except ValueError:
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input") from None
    if not 1 <= limit <= 200:
        raise HubSpotError(400, "VALIDATION_ERROR", "limit must be between 1 and 200")
    end = begin + limit
    results = [_shown(contact, _names(options.get("properties"))) for contact in contacts[begin:end]]
    if end >= len(contacts):
        return {"results": results}
    link = f"https://api.hubapi.com/crm/v3/objects/contacts?after={end}"
    return {"results": results, "paging": {"next": {"after": str(end), "link": link}}}


def _valid(given: JsonObject) -> dict[str, str]:
    properties = given.get("properties")
    if not isinstance(properties, dict):
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input JSON: properties is required")
    unknown = [name for name in properties if name not in PROPERTIES]
    if unknown:
        raise HubSpotError(400, "VALIDATION_ERROR", f'Property "{unknown[0]}" does not exist')
    return {name: "" if value is None else str(value) for name, value in properties.items()}
