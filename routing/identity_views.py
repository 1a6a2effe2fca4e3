"""The public keys with which backends verify who a caller is."""

from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from routing.credentials.identity_keys import public_keys

MAX_AGE: Final = 300


@require_safe
def key_set(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """A JWK Set (RFC 7517)."""
    headers = {"Cache-Control": f"public, max-age={MAX_AGE}", "Access-Control-Allow-Origin": "*"}
    return JsonResponse({"keys": public_keys()}, headers=headers)
