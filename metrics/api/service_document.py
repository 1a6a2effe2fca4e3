"""`/api/config/services/<name>/openapi`: the OpenAPI document of a service."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from metrics.api import access, preconditions, representations
from metrics.api.base import Parameters, validate_query
from metrics.api.configuration import ConfigurationBase
from metrics.api.configuration_access import require_service
from metrics.api.configuration_schema import configuration_operation
from metrics.api.serializers import QueryFlag
from metrics.approvals import submitted
from routing.configuration.faults import ConfigurationError
from routing.configuration_errors import UnknownDocument
from routing.database.actor import acting_as
from routing.database.loader import raw_service
from routing.database.openapi import ImportOptions, import_document, openapi_of
from routing.database.openapi_report import describe
from routing.errors import UnknownService
from routing.openapi.document import read


class ImportQuery(serializers.Serializer[Any]):
    """The query, as the options of `config import`."""

    routes = QueryFlag(required=False, default=False, help_text="merge its operations into the service's routes")
    prune = QueryFlag(required=False, default=False, help_text="remove routes with settings that it no longer has")
    restore = QueryFlag(required=False, default=False, help_text="add routes again that were removed by hand")
    dry_run = QueryFlag(required=False, default=False, help_text="report what would change, change nothing")


class ServiceDocumentView(ConfigurationBase):
    limited = ("GET", "HEAD", "PUT")
    parameters: ClassVar[Parameters] = {"PUT": ImportQuery}

    @configuration_operation("serviceDocument", "the OpenAPI document of the service")
    def get(self, request: Request, service: str) -> HttpResponse:
        """Get the OpenAPI document of a service, as it was imported or uploaded."""
        return self.represent(request, self._stored(request, service))

    @configuration_operation("importServiceDocument", "what has changed", writes=True, query=ImportQuery)
    def put(self, request: Request, service: str) -> HttpResponse:
        """Store the OpenAPI document of a service and, with `routes=1`, merge its operations into the routes.

        Settings of routes that were made by hand are kept. Nothing is fetched that the document refers to.
        """
        require_service(request, service)
        media = representations.accepted(request)
        options = ImportOptions(**validate_query(ImportQuery, request))
        content = representations.content_of(request, representations.MAX_DOCUMENT_BYTES)
        if raw_service(service) is None:
            raise UnknownService(f"there is no service {service!r}")
        preconditions.check(request, openapi_of(service), required=False)
        try:
            with acting_as(access.request_actor(request)):
                report = submitted(lambda: import_document(service, read(content), options), request.user)
        except ConfigurationError as error:
            raise representations.invalid(error, with_lines=True) from None
        return self.report(describe(report, options), media)

    def _stored(self, request: Request, service: str) -> dict[str, Any]:
        require_service(request, service)
        document = openapi_of(service)
        if document is None:
            raise UnknownDocument(f"there is no OpenAPI document of a service {service!r}")
        return document
