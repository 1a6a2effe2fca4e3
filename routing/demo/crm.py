"""Contacts, in a backend that can be made to fail: `POST /mode/failing` and `POST /mode/healthy`, on its own port.

Through the gateway, `/mode` cannot be reached while the circuit is open. HubSpot's and Salesforce's APIs show the same
contacts as `/contacts`.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from routing.demo.contacts import Contacts
from routing.demo.controls import Controls
from routing.demo.hubspot_api import HubSpotApi
from routing.demo.json_backend import json_backend
from routing.demo.salesforce_api import SalesforceApi

UNAFFECTED_PATHS: Final = ("/health", "/mode/", "/demo/")
"""The process is up while its database is not: a health check does not notice, but a circuit breaker does."""


class Crm:
    def __init__(self, contacts: Contacts) -> None:
        self.failing = False
        self._contacts = contacts

    @web.middleware
    async def fail_in_failing_mode(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.failing and not request.path.startswith(UNAFFECTED_PATHS):
            raise web.HTTPInternalServerError(reason="the database is not available")
        return await handler(request)

    async def mode(self, request: web.Request) -> web.Response:
        self.failing = request.match_info["mode"] == "failing"
        return web.json_response({"mode": request.match_info["mode"]}, headers={"Cache-Control": "no-store"})

    async def contacts(self, _: web.Request) -> web.Response:
        listed = [contact.summary for contact in self._contacts.contacts.values()]
        return web.json_response({"total": len(listed), "contacts": listed})

    async def contact(self, request: web.Request) -> web.Response:
        contact = self._contacts.find(request.match_info["id"].removeprefix("con_"))
        if contact is None:
            raise web.HTTPNotFound(reason="no such contact")
        return web.json_response(contact.summary)


async def status(request: web.Request) -> web.Response:
    """A response with the status code in the path."""
    code = int(request.match_info["code"])
    if code in (204, 304):
        return web.Response(status=code)
    return web.json_response({"status": code}, status=code)


def crm_backend() -> web.Application:
    contacts, controls = Contacts(), Controls()
    state = Crm(contacts)
    crm = json_backend("crm/5.0", state.fail_in_failing_mode)
    controls.attach(crm)
    HubSpotApi(contacts, controls).attach(crm)
    SalesforceApi(contacts, controls).attach(crm)
    crm.router.add_get("/contacts", state.contacts)
    crm.router.add_get("/contacts/{id}", state.contact)
    crm.router.add_route("*", "/status/{code:[2-5][0-9]{2}}", status)
    crm.router.add_post("/mode/{mode:failing|healthy}", state.mode)
    return crm
