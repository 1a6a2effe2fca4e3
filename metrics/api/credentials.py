"""`/metrics/credentials`: the state of services' credentials at their backends, without any secret."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from metrics import credentials
from metrics.api import access, serializers
from metrics.api.base import LimitedReadView, MetricsView, documented, validate_body

_EXAMPLE: Final[dict[str, Any]] = {
    "credentials": [
        {
            "service": "crm",
            "credential": "service",
            "state": "failed",
            "freshUntil": "2026-01-31T12:00:00.000Z",
            "failure": "invalid_grant",
            "account": "",
            "updatedAt": "2026-01-31T12:00:01.250Z",
        }
    ]
}


class CredentialsView(LimitedReadView):
    @documented("credentials", serializers.CredentialsOutput, _EXAMPLE)
    def get(self, request: Request) -> Response:
        """List the credentials that have been used, at most 1,000, those that failed last first."""
        return Response(
            serializers.CredentialsOutput({"credentials": credentials.credential_states(access.visible(request))}).data
        )


class CredentialForgetView(MetricsView):
    limited = ("POST",)

    @documented(
        "forgetCredential",
        serializers.ForgetOutput,
        {"service": "crm", "credential": "service"},
        body=serializers.ForgetInput,
    )
    def post(self, request: Request, service: str) -> Response:
        """Drop an access token, and what failed, in all workers: the next request obtains another."""
        data = validate_body(serializers.ForgetInput, request.data)
        credentials.forget(access.request_actor(request), service, data["credential"])
        return Response({"service": service, "credential": data["credential"]})
