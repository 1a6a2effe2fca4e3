"""Contacts, and a backend that fails when told to: `POST /mode/failing`, `POST /mode/healthy`, on its own port.

Through the gateway `/mode` is of no use once the circuit is open, for that refuses every call to the service.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from routing.demo.answers import application as backend

CONTACTS: Final = {
    key: {"id": key, "name": name, "company": company, "email": email, "stage": stage, "annualValue": value}
    for key, name, company, email, stage, value in (
        ("con_1042", "Ruth Okafor", "Contoso", "r.okafor@contoso.example", "renewal", 184_000),
        ("con_1057", "Luc Moreau", "Fabrikam", "l.moreau@fabrikam.example", "negotiation", 96_500),
        ("con_1063", "Hana Sato", "Northwind", "h.sato@northwind.example", "customer", 241_000),
        ("con_1088", "Marek Nowak", "Tailspin", "m.nowak@tailspin.example", "lead", 38_000),
    )
}
EVEN_WHEN_FAILING: Final = ("/health", "/mode/")
"""The process is up though its database is not: that is what a circuit is for, and a health check does not see."""


class Crm:
    def __init__(self) -> None:
        self.failing = False

    @web.middleware
    async def fail_when_told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.failing and not request.path.startswith(EVEN_WHEN_FAILING):
            raise web.HTTPInternalServerError(reason="the database does not answer")
        return await handler(request)

    async def mode(self, request: web.Request) -> web.Response:
        self.failing = request.match_info["mode"] == "failing"
        return web.json_response({"mode": request.match_info["mode"]}, headers={"Cache-Control": "no-store"})


async def contacts(_: web.Request) -> web.Response:
    return web.json_response({"total": len(CONTACTS), "contacts": list(CONTACTS.values())})


async def contact(request: web.Request) -> web.Response:
    found = CONTACTS.get(request.match_info["id"])
    if found is None:
        raise web.HTTPNotFound(reason="no such contact")
    return web.json_response(found)


async def status(request: web.Request) -> web.Response:
    """An answer with the status that the path names."""
    code = int(request.match_info["code"])
    if code in (204, 304):
        return web.Response(status=code)
    return web.json_response({"status": code}, status=code)


def application() -> web.Application:
    state = Crm()
    crm = backend("crm/5.0", state.fail_when_told)
    crm.router.add_get("/contacts", contacts)
    crm.router.add_get("/contacts/{id}", contact)
    crm.router.add_route("*", "/status/{code:[2-5][0-9]{2}}", status)
    crm.router.add_post("/mode/{mode:failing|healthy}", state.mode)
    return crm
