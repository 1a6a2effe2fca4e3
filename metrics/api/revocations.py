"""`/api/revocations`: tokens and subjects whose tokens are refused before they expire."""

from typing import Any, Final

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import revocations
from metrics.api import access
from metrics.api.base import MetricsView, documented, validate_body
from metrics.api.proposing import ProposingView
from metrics.api.serializers import NO_NUL, Text
from metrics.approvals import submitted
from routing.database.actor import acting_as

EXAMPLE: Final[dict[str, Any]] = {
    "id": 7,
    "issuer": "https://login.example.com",
    "subject": "auth0|5f7c8ec7c33c6c004bbafe82",
    "jti": "",
    "until": "2026-02-01T00:00:00Z",
    "reason": "lost laptop",
}


ISSUER: Final = "of the token, one that is configured; unset: every issuer"
UNTIL: Final = "by default in 30 days; at most a year from now"


class RevocationOutput(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    issuer = serializers.CharField(help_text="empty for every issuer")
    subject = serializers.CharField()
    jti = serializers.CharField(source="token_id")
    until = serializers.DateTimeField()
    reason = serializers.CharField()


class RevocationsOutput(serializers.Serializer[Any]):
    revocations = RevocationOutput(many=True)


class RevocationInput(serializers.Serializer[Any]):
    jti = Text(min_length=1, max_length=255, required=False, help_text="the id of one token")
    subject = Text(min_length=1, max_length=255, required=False, help_text="whose tokens are all refused")
    issuer = Text(max_length=200, allow_blank=True, required=False, help_text=ISSUER)
    until = serializers.DateTimeField(required=False, help_text=UNTIL)
    reason = Text(max_length=500, allow_blank=True, required=False)


class LiftedOutput(serializers.Serializer[Any]):
    id = serializers.IntegerField()


def _text(description: str, longest: int, shortest: int = 0) -> dict[str, Any]:
    limits = {"minLength": shortest, "maxLength": longest, "pattern": NO_NUL}
    return {"type": "string", "description": description, **limits}


INPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "jti": _text("the id of one token", 255, 1),
        "subject": _text("whose tokens are all refused", 255, 1),
        "issuer": _text(ISSUER, 200),
        "until": {"type": "string", "format": "date-time", "description": UNTIL},
        "reason": _text("shown in the audit log", 500),
    },
    "additionalProperties": False,
    "oneOf": [{"required": ["jti"]}, {"required": ["subject"]}],
}
"""As RevocationInput, which cannot say that exactly one of two is required."""


class RevocationsView(MetricsView):
    @documented("revocations", RevocationsOutput, {"revocations": [EXAMPLE]})
    def get(self, request: Request) -> Response:  # noqa: ARG002 - REST framework's signature
        """List the revocations in force, the latest first."""
        return Response(RevocationsOutput({"revocations": revocations.in_force()}).data)

    @documented("revokeToken", RevocationOutput, EXAMPLE, code=201, body={"application/json": INPUT})
    def post(self, request: Request) -> Response:
        """Refuse a token, or all tokens of a subject; their WebSockets are closed."""
        data = validate_body(RevocationInput, request.data)
        row = revocations.revoke(
            access.request_actor(request),
            issuer=data.get("issuer", ""),
            subject=data.get("subject", ""),
            token_id=data.get("jti", ""),
            until=data.get("until"),
            reason=data.get("reason", ""),
        )
        return Response(RevocationOutput(row).data, status=status.HTTP_201_CREATED)


class RevocationView(ProposingView):
    @documented("restoreToken", LiftedOutput, {"id": 7})
    def delete(self, request: Request, number: str) -> Response:
        """End a revocation before its time. With CONFIG_APPROVAL, one of somebody else waits for approval."""
        actor = access.request_actor(request)
        with acting_as(actor):
            submitted(lambda: revocations.lift(actor, int(number)), request.user, whole=False)
        return Response(LiftedOutput({"id": int(number)}).data)
