"""`POST /connect/<service>/links`: a link with which a person connects an account for the caller that requests it."""

import asyncio
from functools import partial
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.credentials.connections import policy_of
from routing.credentials.pending import LINK_SECONDS, Owner, create_link
from routing.credentials.subjects import subject_of
from routing.database.connection import thread_connection
from routing.django_http import to_django_response, to_gateway_request
from routing.errors import Forbidden, MethodNotAllowed, Unauthenticated, UnknownService
from routing.exchange import Exchange, InternalEndpoint
from routing.http import Response
from routing.router.access import authorize
from routing.router.credential_policy import Per

ENDPOINT: Final = InternalEndpoint("connect", RatePolicy(20, 60.0))
CONNECT_SCOPE: Final = "accounts:connect"
"""Callers with it may connect, replace and disconnect the account that all callers of their tenant use."""


@method_decorator(csrf_exempt, name="dispatch")
class LinksView(View):
    """For API keys and Firebase tokens: no cookie counts, so that there is no forgery to protect from."""

    def dispatch(self, request: HttpRequest, service: str) -> HttpResponseBase:
        handler = partial(_create, service)
        gateway = runtime.current().gateway
        return to_django_response(
            request, runtime.current().wait_for(gateway.serve(to_gateway_request(request), ENDPOINT, handler))
        )


async def _create(name: str, exchange: Exchange) -> Response:
    if exchange.request.method != "POST":
        raise MethodNotAllowed("links are created with POST", allow=("POST",))
    caller, service = exchange.caller, runtime.current().gateway.live.table.services.get(name)
    if caller is None:
        raise Unauthenticated("links are created for API keys and Firebase users")
    policy = None if service is None else policy_of(service)
    if service is None or policy is None:
        raise UnknownService("there is no such service, or no accounts are connected to it", service=name)
    denial = authorize(service, service.policy, caller)
    if denial is not None:
        raise denial
    if policy.per is Per.SERVICE:
        raise Forbidden("the account of this service is connected by its operators", service=name)
    if policy.per is Per.TENANT and not caller.has_scope(CONNECT_SCOPE):
        raise Forbidden(f"connecting the account of a tenant requires the scope {CONNECT_SCOPE}", service=name)
    subject_of(policy, caller, name)
    token = await asyncio.to_thread(_store, Owner(name, caller.id, caller.tenant or "", policy.per.value))
    host = exchange.request.fields.get(b"host", b"").decode("latin-1")
    url = f"{exchange.request.scheme}://{host}/connect/{name}/?link={token}"
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")]
    return Response(201, headers, msgspec.json.encode({"url": url, "expires_in": LINK_SECONDS}))


def _store(owner: Owner) -> str:
    with thread_connection():
        return create_link(owner)
