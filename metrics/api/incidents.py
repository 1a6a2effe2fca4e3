"""What is done about incidents: a probe of targets, a record of a deployment, and an earlier configuration restored."""

from typing import Any, Final

from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import probes
from metrics.api import access, representations
from metrics.api.base import MetricsView, documented, validate_body
from metrics.api.configuration import ConfigurationBase
from metrics.api.configuration_access import visible_services
from metrics.api.serializers import Milliseconds, Text
from metrics.approvals import submitted
from metrics.audit import DEPLOYMENT, record_operation
from metrics.incidents.changes import latest_revision
from metrics.selectors import get_service
from metrics.services import MAX_REASON_LENGTH
from routing.configuration.faults import ConfigurationError
from routing.configuration_errors import PreconditionFailed, UnknownDocument
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.locks import lock_configuration
from routing.errors import Forbidden
from routing.models import ConfigurationRevision
from routing.rights import Right

ROLLBACK: Final = "configuration.rollback"
MAX_VERSION_LENGTH: Final = 100


class ProbedTargetOutput(serializers.Serializer[Any]):
    target = serializers.CharField()
    path = serializers.CharField(help_text="of the health check, or /")
    status = serializers.IntegerField(allow_null=True, help_text="null: there was no response")
    milliseconds = Milliseconds(source="seconds")
    reason = serializers.CharField(help_text="why there was no response; empty if there was one")


class ProbeOutput(serializers.Serializer[Any]):
    targets = ProbedTargetOutput(many=True)


class DeploymentInput(serializers.Serializer[Any]):
    version = Text(min_length=1, max_length=MAX_VERSION_LENGTH)
    service = Text(required=False, default="", allow_blank=True, max_length=63, help_text="empty: not of one service")


class DeploymentOutput(serializers.Serializer[Any]):
    version = serializers.CharField()
    service = serializers.CharField()


class RestoreInput(serializers.Serializer[Any]):
    latest = serializers.IntegerField(min_value=1, help_text="the id of the latest revision that is known")
    reason = Text(min_length=1, max_length=MAX_REASON_LENGTH)


class RestoreOutput(serializers.Serializer[Any]):
    restored = serializers.IntegerField(help_text="the id of the revision")
    services = serializers.ListField(child=serializers.CharField(), help_text="what has changed")


class ProbeView(MetricsView):
    limited = ("POST",)

    @documented(
        "probeTargets",
        ProbeOutput,
        {"targets": [{"target": "http://127.0.0.1:9", "path": "/", "status": 200, "milliseconds": 3.2, "reason": ""}]},
    )
    def post(self, request: Request, service: str) -> Response:
        """Call each target of a service once, whatever its circuit says. The result does not change the circuit."""
        results = probes.probe(access.request_actor(request), service)
        return Response({"targets": ProbedTargetOutput(results, many=True).data})


class DeploymentsView(MetricsView):
    limited = ("POST",)

    @documented("recordDeployment", DeploymentOutput, {"version": "1.4.2", "service": "crm"}, body=DeploymentInput)
    def post(self, request: Request) -> Response:
        """Record that a version was deployed, to be shown beside incidents that begin soon after."""
        data = validate_body(DeploymentInput, request.data)
        access.require_service(request, data["service"], Right.OPERATE)
        if data["service"]:
            get_service(data["service"])
        record_operation(access.request_actor(request), DEPLOYMENT, data["service"], after={"version": data["version"]})
        return Response({"version": data["version"], "service": data["service"]})


class ConfigurationRestoreView(ConfigurationBase):
    @documented(
        "restoreConfiguration",
        RestoreOutput,
        {"restored": 41, "services": ["crmIntelligence"]},
        body=RestoreInput,
        tag="configuration",
    )
    def post(self, request: Request, number: str) -> Response:
        """Restore the configuration of an earlier revision, if `latest` is still the latest one."""
        if visible_services(request) is not None:
            raise Forbidden("your rights are for some services, and a revision is of all")
        data, actor = validate_body(RestoreInput, request.data), access.request_actor(request)
        note = f"rolled back to revision {int(number)}: {data['reason']}"

        def change() -> tuple[ConfigurationRevision, revisions.Rollback]:
            with transaction.atomic():
                lock_configuration()
                revision = ConfigurationRevision.objects.filter(pk=int(number)).first()
                if revision is None:
                    raise UnknownDocument(f"there is no revision {int(number)}")
                if latest_revision() != data["latest"]:
                    raise PreconditionFailed("the configuration was changed since: look at it again")
                try:
                    done = revisions.rollback(revision, actor)
                except ConfigurationError as error:
                    raise representations.invalid(error, with_lines=False) from None
                record_operation(actor, ROLLBACK, before=done.before, after={**done.after, "reason": data["reason"]})
            return revision, done

        with acting_as(actor, note):  # the revision is recorded after the transaction
            revision, done = submitted(change, request.user)
        return Response({"restored": revision.pk, "services": done.after["services"]})
