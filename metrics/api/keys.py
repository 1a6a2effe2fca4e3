"""`/api/keys`: whether a key is valid, and a new secret for one."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from django.utils import timezone
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from metrics.api import access
from metrics.api.base import MetricsView, documented, validate_body
from metrics.request_rates import exceeds
from metrics.runtime_access import running
from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES, Caller
from routing.configuration.values import duration
from routing.database.actor import acting_as
from routing.database.api_keys import FoundKey, by_prefix, find, rotate
from routing.errors import Forbidden, GatewayError, RateLimited
from routing.keys.document import describe, time_text
from routing.models import ApiKey
from routing.rights import Right, may

VERIFY_SCOPE: Final = "keys:verify"
ROTATE_SCOPE: Final = "keys:rotate"
VERIFY_RATE: Final = "600/m"
"""The limit of verifications for each member of staff and each API key."""
MAX_KEY_LENGTH: Final = 256
DEFAULT_GRACE: Final = "24h"


class UnknownKey(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_key"
    title = "There is no such API key"


class VerifyInput(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=MAX_KEY_LENGTH)


class VerifyOutput(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    reason = serializers.CharField(
        allow_null=True, help_text="revoked, expired, replaced, disabled or environment; null if it is valid"
    )
    prefix = serializers.CharField()
    name = serializers.CharField()
    owner = serializers.CharField(allow_null=True)
    consumer = serializers.CharField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField(), allow_null=True)
    tenant = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    expires_at = serializers.CharField(allow_null=True, help_text="when this secret ends")
    replaced = serializers.BooleanField(help_text="whether the key has a newer secret")


class RotateInput(serializers.Serializer[Any]):
    grace = serializers.CharField(default=DEFAULT_GRACE, max_length=16, help_text="such as 24h; 0 ends old secrets")


class RotateOutput(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="the new key, shown only this once")
    prefix = serializers.CharField()
    old_valid_until = serializers.CharField()


_VERIFIED: Final[dict[str, Any]] = {
    "valid": True,
    "reason": None,
    "prefix": "gw_k3m5pq7a",
    "name": "reports",
    "owner": "data@example.com",
    "consumer": None,
    "scopes": ["crmIntelligence"],
    "tenant": None,
    "environment": None,
    "expires_at": "2026-12-31T00:00:00Z",
    "replaced": False,
}
_ROTATED: Final = {
    "key": "gw_k3m5pq7a_<secret>",
    "prefix": "gw_k3m5pq7a",
    "old_valid_until": "2026-12-01T12:00:00Z",
}


def _permission(scope: str, right: Right) -> type[BasePermission]:
    """Staff with the right, and keys with the scope."""

    class KeyPermission(BasePermission):
        message = (
            f"requires a staff account that may {right.name.lower()} the gateway, or an API key with scope {scope}"
        )

        def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - REST framework's
            if isinstance(request.auth, Caller):
                return request.auth.has_scope(scope)
            return may(request.user, right)

    return KeyPermission


class KeyVerifyView(MetricsView):
    permission_classes = (_permission(VERIFY_SCOPE, Right.VIEW),)

    def check_throttles(self, request: Request) -> None:
        actor = access.request_actor(request)
        if exceeds(request._request, "keys.verify", lambda *_: actor, VERIFY_RATE, count=True):
            raise RateLimited(f"more than {VERIFY_RATE} keys", retry_after=access.WRITE_WINDOW_SECONDS)

    @documented("verifyKey", VerifyOutput, _VERIFIED, body=VerifyInput)
    def post(self, request: Request) -> Response:
        """Say whether an API key is valid, and whose it is: for backends and for scanners that have found one.

        The response never contains the secret. An unknown key is a 404, whatever is wrong with it.
        """
        found = find(validate_body(VerifyInput, request.data)["key"], running().gateway.live.keys.environment)
        if found is None:
            raise UnknownKey("no API key of this gateway has this secret")
        return Response(_verified(found))


class KeyRotateView(MetricsView):
    permission_classes = (_permission(ROTATE_SCOPE, Right.CONFIGURE),)

    @documented("rotateKey", RotateOutput, _ROTATED, body=RotateInput)
    def post(self, request: Request, prefix: str) -> Response:
        """Give an API key a new secret, returned once. The present one stays valid for the grace.

        A key with scope keys:rotate may rotate keys of its tenant, and of its consumer if it has one, that have no
        scope it does not have itself.
        """
        grace = timedelta(seconds=duration(validate_body(RotateInput, request.data)["grace"]))
        key = by_prefix(prefix)
        if key is None:
            raise UnknownKey("no API key has this prefix")
        if isinstance(request.auth, Caller) and not _covers(request.auth, key):
            raise Forbidden("the key has scopes that yours does not have, or is another tenant's or consumer's")
        with acting_as(access.request_actor(request)):
            new_key = rotate(key, grace)
        until = time_text(key.retired.latest("pk").valid_until)
        return Response({"key": new_key, "prefix": key.shown_prefix, "old_valid_until": until})


def _verified(found: FoundKey) -> dict[str, Any]:
    shown = describe(found.row, timezone.now())
    names = ("prefix", "name", "owner", "consumer", "scopes", "tenant", "environment")
    return {
        "valid": not found.reason,
        "reason": found.reason or None,
        **{name: shown[name] for name in names},
        "expires_at": time_text(found.expires),
        "replaced": found.is_retired,
    }


def _covers(caller: Caller, key: ApiKey) -> bool:
    """Whether the caller may learn the key's secret: it must not be another consumer's, nor have further scopes."""
    own, consumer = caller.scopes or frozenset(), caller.subscription.consumer_id if caller.subscription else 0
    if key.scopes is None or (key.tenant or None) != caller.tenant or (consumer and key.consumer_id != consumer):
        return False
    return all(scope in own or (EVERY_SERVICE in own and scope not in GATEWAY_SCOPES) for scope in key.scopes)
