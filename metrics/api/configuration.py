"""`/api/config`: the configuration file, as a whole and service by service."""

from collections.abc import Callable, Collection
from typing import Any, ClassVar, Final

from django.db import transaction
from django.http import HttpResponse
from rest_framework.request import Request

from metrics.api import access, preconditions, representations
from metrics.api.base import Parameters
from metrics.api.configuration_access import (
    ConfigurationPermission,
    WriteQuery,
    changed_services,
    is_limited_staff,
    may_read,
    options,
    require_service,
    visible_services,
)
from metrics.api.configuration_schema import configuration_operation
from metrics.api.proposing import ProposingView
from metrics.approvals import submitted
from metrics.audit import record_operation
from routing.configuration.decode import VERSION
from routing.configuration.document import Document
from routing.configuration.faults import ConfigurationError, Path
from routing.configuration.merge_patch import merge_patch
from routing.database.actor import acting_as
from routing.database.config_file import Precondition, WriteOptions, Written, stored_document, write_document
from routing.database.locks import lock_configuration
from routing.errors import Forbidden, UnknownService
from routing.rights import Names

ACTION: Final = "configuration.write"
"""The action in the audit log, besides the entries of each row."""


class ConfigurationBase(ProposingView):
    permission_classes = (ConfigurationPermission,)

    def represent(self, request: Request, value: Any, status: int = 200) -> HttpResponse:
        """The value as JSON or YAML with its entity tag, or 304."""
        media = representations.accepted(request)
        tag = preconditions.entity_tag(value, media)
        headers = {"ETag": tag, "Vary": "Accept"}
        if preconditions.is_unchanged(request, tag):
            return HttpResponse(status=304, headers=headers)
        return self.report(value, media, status, headers)

    def report(self, value: Any, media: str, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
        content = representations.write(value, media)
        return HttpResponse(content, content_type=representations.content_type(media), status=status, headers=headers)


class ConfigurationView(ConfigurationBase):
    limited = ("GET", "HEAD", "PUT")
    parameters: ClassVar[Parameters] = {"PUT": WriteQuery}

    @configuration_operation("configuration", "the configuration file")
    def get(self, request: Request) -> HttpResponse:
        """Get the configuration file, as `config export` writes it. Secrets are masked."""
        return self.represent(request, stored_document(visible_services(request)))

    @configuration_operation("replaceConfiguration", "what has changed", writes=True)
    def put(self, request: Request) -> HttpResponse:
        """Make the configuration match a file, as `config apply` does, or report what would change.

        A mask keeps the stored secret. Nothing is changed if there is any fault.
        """
        media = representations.accepted(request)
        document = representations.read(request)
        written = _write(
            request,
            lambda: document,
            lambda _: preconditions.check(request, stored_document(visible_services(request)), required=True),
            changed_services(request),
        )
        return self.report(*_answer(request, written, media, written.document))


class ServiceConfigurationView(ConfigurationBase):
    limited = ("GET", "HEAD", "PUT", "PATCH")
    parameters: ClassVar[Parameters] = {"PUT": WriteQuery, "PATCH": WriteQuery, "DELETE": WriteQuery}

    @configuration_operation("serviceConfiguration", "the service's settings")
    def get(self, request: Request, service: str) -> HttpResponse:
        """Get the settings of a service, as the configuration file has them."""
        require_service(request, service)
        return self.represent(request, _item(stored_document(frozenset({service})), service))

    @configuration_operation("replaceService", "what has changed", writes=True, creates=True)
    def put(self, request: Request, service: str) -> HttpResponse:
        """Set all settings of a service, which is created if there is none of the name."""
        return self._set(request, service, lambda _, sent: sent, required=True)

    @configuration_operation("changeService", "what has changed", writes=True, patches=True)
    def patch(self, request: Request, service: str) -> HttpResponse:
        """Change settings of a service: a JSON Merge Patch (RFC 7396), in which null removes a setting."""
        return self._set(request, service, lambda item, sent: merge_patch(_known(item, service), sent), required=False)

    @configuration_operation("deleteService", "what has changed", deletes=True)
    def delete(self, request: Request, service: str) -> HttpResponse:
        """Delete a service that nothing else in the configuration names."""
        require_service(request, service)
        media = representations.accepted(request)
        written = _write(
            request,
            lambda: Document({"version": VERSION, "services": {}}, {}),
            lambda before: preconditions.check(request, _item(before, service), required=False),
            frozenset({service}),
            delete=(service,),
        )
        return self.report(*_answer(request, written, media, None))

    def _set(
        self, request: Request, service: str, change: Callable[[Any, Any], Any], *, required: bool
    ) -> HttpResponse:
        """`change` makes the new settings of the present ones, None if there is no service, and what was sent."""
        require_service(request, service)
        media = representations.accepted(request)
        is_patch = request.method == "PATCH"
        sent = representations.read(request, *((representations.MERGE_PATCH,) if is_patch else ()))
        names = frozenset({service})

        def make() -> Document:
            item = change(stored_document(names)["services"].get(service), sent.structure)
            lines = {} if is_patch else {("services", service, *path): line for path, line in sent.lines.items()}
            return Document({"version": VERSION, "services": {service: item}}, lines)

        written = _write(
            request,
            make,
            lambda before: preconditions.check(request, before["services"].get(service), required=required),
            names,
            delete=(),
            is_bound=visible_services(request) is not None,
            within=("services", service),
        )
        status = 201 if service in written.diff.created else 200
        return self.report(*_answer(request, written, media, written.document["services"].get(service), status))


def _write(
    request: Request,
    make: Callable[[], Document],
    precondition: Precondition,
    names: Names,
    *,
    delete: Collection[str] | None = None,
    is_bound: bool = True,
    within: Path = (),
) -> Written:
    """Write the document that `make` returns within the transaction, on behalf of the request's author.

    Pointers of faults at `within` begin there: it is what the request's content is about.
    """
    actor, chosen = access.request_actor(request), options(request)

    def change() -> Written:
        with transaction.atomic():
            lock_configuration()
            document = make()
            try:
                written = write_document(document, precondition, chosen, names, delete, is_bound=is_bound)
            except ConfigurationError as error:
                raise representations.invalid(error, with_lines=bool(document.lines), within=within) from None
            if is_limited_staff(request) and (written.diff.created or written.diff.deleted):
                raise Forbidden("services are added and deleted by those who may configure the gateway")
            if written.diff and not chosen.dry_run:
                record_operation(actor, ACTION, after=_names(written))
        return written

    with acting_as(actor):
        return submitted(change, request.user)


def _names(written: Written) -> dict[str, list[str]]:
    return {verb: list(found) for verb, found in written.diff.to_document(with_values=False).items()}


def _answer(
    request: Request, written: Written, media: str, value: Any, status: int = 200
) -> tuple[Any, str, int, dict[str, str]]:
    """What has changed, with values for those who may read them. The entity tag is that of what is stored now."""
    chosen: WriteOptions = options(request)
    diff = written.diff.to_document(with_values=may_read(request))
    report = {"dry_run": chosen.dry_run, **diff, "warnings": list(written.warnings)}
    if chosen.dry_run or value is None:
        return report, media, 200, {}
    return report, media, status, {"ETag": preconditions.entity_tag(value, media)}


def _item(document: dict[str, Any], service: str) -> dict[str, Any]:
    return _known(document["services"].get(service), service)


def _known(item: Any, service: str) -> dict[str, Any]:
    """Raises UnknownService."""
    if item is None:
        raise UnknownService(f"there is no service {service!r}")
    found: dict[str, Any] = item
    return found
