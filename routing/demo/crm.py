"""Contacts, in a backend that can be made to fail: `POST /mode/failing` and `POST /mode/healthy`, on its own port.

Through the gateway, `/mode` cannot be reached while the circuit is open.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from routing.demo.json_backend import json_backend

CONTACTS: Final = {
    key: {"id": key, "name": name, "company": company, "email": email, "stage": stage, "annualValue": value}
    for key, name, company, email, stage, value in (
        ("con_1042", "Ruth Okafor", "Contoso", "r.okafor@contoso.example", "renewal", 184_000),
        ("con_1057", "Luc Moreau", "Fabrikam", "l.moreau@fabrikam.example", "negotiation", 96_500),
        ("con_1063", "Hana Sato", "Northwind", "h.sato@northwind.example", "customer", 241_000),
        ("con_1088", "Marek Nowak", "Tailspin", "m.nowak@tailspin.example", "lead", 38_000),
    )
}
UNAFFECTED_PATHS: Final = ("/health", "/mode/")
"""The process is up while its database is not: a health check does not notice, but a circuit breaker does."""


class Crm:
    def __init__(self) -> None:
        self.failing = False

    @web.middleware
    async def fail_in_failing_mode(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.failing and not request.path.startswith(UNAFFECTED_PATHS):
            raise web.HTTPInternalServerError(reason="the database is not available")
        return await handler(request)

    async def mode(self, request: web.Request) -> web.Response:
        self.failing = request.match_info["mode"] == "failing"
        return web.json_response({"mode": request.match_info["mode"]}, headers={"Cache-Control": "no-store"})


async def contacts(_: web.Request) -> web.Response:
    return web.json_response({"total": len(CONTACTS), "contacts": list(CONTACTS.values())})


async def contact(request: web.Request) -> web.Response:
    entry = CONTACTS.get(request.match_info["id"])
    if entry is None:
        raise web.HTTPNotFound(reason="no such contact")
    return web.json_response(entry)


async def status(request: web.Request) -> web.Response:
    """A response with the status code in the path."""
    code = int(request.match_info["code"])
    if code in (204, 304):
        return web.Response(status=code)
    return web.json_response({"status": code}, status=code)


def crm_backend() -> web.Application:
    state = Crm()
    crm = json_backend("crm/5.0", state.fail_in_failing_mode)
    crm.router.add_get("/contacts", contacts)
    crm.router.add_get("/contacts/{id}", contact)
    crm.router.add_route("*", "/status/{code:[2-5][0-9]{2}}", status)
    crm.router.add_post("/mode/{mode:failing|healthy}", state.mode)
    return crm
