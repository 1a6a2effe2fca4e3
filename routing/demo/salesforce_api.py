"""The Salesforce REST API for contacts: queries, rows and limits, below `/services/data/v60.0`."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from routing.demo.contacts import Contact, Contacts
from routing.demo.controls import Controls, reply
from routing.demo.json_backend import json_body

ROOT: Final = "/services/data/v60.0"
SECONDS: Final = 0.2
PER_DAY: Final = 15_000
PAGE: Final = 200
QUERY: Final = re.compile(r"select ([\w ,]+?) from contact(?: limit (\d{1,4}))?", re.IGNORECASE)
NAMES: Final = {"FirstName": "firstname", "LastName": "lastname", "Email": "email", "Company__c": "company"}
Result = tuple[Any, int]
ApiMethod = Callable[[web.Request, dict[str, Any]], Result]


class SalesforceError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = [{"message": message, "errorCode": code}]


class SalesforceApi:
    def __init__(self, contacts: Contacts, controls: Controls) -> None:
        self._contacts = contacts
        self._controls = controls

    def attach(self, backend: web.Application) -> None:
        operations: tuple[tuple[str, str, str, ApiMethod], ...] = (
            ("GET", "/query", "query", self._query),
            ("GET", "/query/{locator}", "query", self._next),
            ("GET", "/sobjects/Contact/{id}", "sobject.get", self._get),
            ("PATCH", "/sobjects/Contact/{id}", "sobject.update", self._update),
            ("GET", "/limits", "limits", self._limits),
        )
        for method, path, operation, run in operations:
            backend.router.add_route(method, ROOT + path, partial(self._call, operation, run))

    async def _call(self, operation: str, run: ApiMethod, request: web.Request) -> web.Response:
        self._controls.calls[operation] += 1
        remaining, _ = self._controls.use("salesforce", PER_DAY, 86_400.0)
        used = PER_DAY - max(remaining, 0)
        headers = {
            "Sforce-Limit-Info": f"api-usage={used}/{PER_DAY}",
            "Cache-Control": "no-cache,must-revalidate,max-age=0,no-store,private",
        }
        headers["Set-Cookie"] = "BrowserId=demonstration; domain=.salesforce.example; path=/; secure; HttpOnly"
        try:
            self._check(request, operation, remaining)
            await self._controls.wait(SECONDS)
            body, status = run(request, await json_body(request) if request.can_read_body else {})
        except SalesforceError as error:
            body, status = error.body, error.status
        return web.Response(status=204, headers=headers) if status == 204 else reply(body, status, headers)

    def _check(self, request: web.Request, operation: str, remaining: int) -> None:
        token, required = request.headers.get("Authorization", ""), self._controls.settings.token
        refused = "expired" in token or (required is not None and token != f"Bearer {required}")
        if refused:
            raise SalesforceError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        error = self._controls.settings.errors.get(operation)
        if remaining < 0 or error == "REQUEST_LIMIT_EXCEEDED":
            raise SalesforceError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        if error is not None:
            raise SalesforceError(500, error, error)

    def _query(self, request: web.Request, _: dict[str, Any]) -> Result:
        """`SELECT Id, Email FROM Contact LIMIT 10`; no other queries."""
        found = QUERY.fullmatch(request.query.get("q", ""))
        if found is None:
            raise SalesforceError(400, "MALFORMED_QUERY", "unexpected token")
        names = [name.strip() for name in found[1].split(",")]
        unknown = [name for name in names if name not in (*NAMES, "Id")]
        if unknown:
            raise SalesforceError(400, "INVALID_FIELD", f"No such column '{unknown[0]}' on entity 'Contact'")
        contacts = list(self._contacts.contacts.values())[: int(found[2] or 10_000)]
        return _page(contacts, names, 0), 200

    def _next(self, request: web.Request, _: dict[str, Any]) -> Result:
        begin = request.match_info["locator"].rpartition("-")[2]
        if not begin.isdecimal():
            raise SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return _page(list(self._contacts.contacts.values()), ["Id", *NAMES], int(begin)), 200

    def _get(self, request: web.Request, _: dict[str, Any]) -> Result:
        return _row(self._find(request), ["Id", *NAMES]), 200

    def _update(self, request: web.Request, given: dict[str, Any]) -> Result:
        contact = self._find(request)
        unknown = [name for name in given if name not in NAMES]
        if unknown:
            raise SalesforceError(400, "INVALID_FIELD", f"No such column '{unknown[0]}' on sobject of type Contact")
        self._contacts.change(contact, {NAMES[name]: str(value) for name, value in given.items()})
        return None, 204

    def _limits(self, _: web.Request, __: dict[str, Any]) -> Result:
        remaining, _end = self._controls.use("salesforce", PER_DAY, 86_400.0, cost=0)
        return {"DailyApiRequests": {"Max": PER_DAY, "Remaining": max(remaining, 0)}}, 200

    def _find(self, request: web.Request) -> Contact:
        contact = self._contacts.find(request.match_info["id"].removeprefix("003").lstrip("0"))
        if contact is None:
            raise SalesforceError(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        return contact


def _page(contacts: list[Contact], names: list[str], begin: int) -> dict[str, Any]:
    end = begin + PAGE
    records = [_row(contact, names) for contact in contacts[begin:end]]
    done = end >= len(contacts)
    more = {} if done else {"nextRecordsUrl": f"{ROOT}/query/01gDEMO-{end}"}
    return {"totalSize": len(contacts), "done": done, **more, "records": records}


def _row(contact: Contact, names: list[str]) -> dict[str, Any]:
    key = f"003{contact.key:015d}"
    values = {name: contact.properties.get(NAMES[name]) for name in names if name != "Id"}
    attributes = {"type": "Contact", "url": f"{ROOT}/sobjects/Contact/{key}"}
    return {"attributes": attributes, **({"Id": key} if "Id" in names else {}), **values}
