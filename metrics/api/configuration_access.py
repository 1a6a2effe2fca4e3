"""Who may read and change which part of the configuration through the API."""

from typing import Any, Final

from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from metrics.api import access
from metrics.api.base import validate, validate_query
from metrics.api.serializers import QueryFlag
from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES, Caller
from routing.database.config_file import WriteOptions
from routing.errors import Forbidden
from routing.keys.scopes import CONFIG_READ, CONFIG_WRITE
from routing.rights import Names, Right, is_any, services, within

DRY_RUN: Final = "dry_run"


class DryRunQuery(serializers.Serializer[Any]):
    dry_run = QueryFlag(required=False, default=False, help_text="report the differences, change nothing")


class WriteQuery(DryRunQuery):
    prune = QueryFlag(required=False, default=False, help_text="delete what the document does not contain")
    allow_literal_secrets = QueryFlag(required=False, default=False, help_text="accept secrets as they are")
    allow_missing_secrets = QueryFlag(
        required=False, default=False, help_text="put services whose secrets are missing out of service"
    )


class ConfigurationPermission(BasePermission):
    """Staff who may view or configure, and keys with the scope. A dry run is read. See `access.permits`."""

    message = (
        "requires a staff account that may view the gateway to read, or configure it to write, "
        f"or an API key with scope {CONFIG_READ} to read, or {CONFIG_WRITE} to write"
    )

    def has_permission(self, request: Request, view: APIView) -> bool:
        reads = request.method in SAFE_METHODS or (_has_dry_run(request, view) and is_dry_run(request))
        if isinstance(request.auth, Caller):
            return request.auth.has_scope(CONFIG_READ if reads else CONFIG_WRITE)
        return access.permits(request, view, Right.VIEW if reads else Right.CONFIGURE)


def _has_dry_run(request: Request, view: APIView) -> bool:
    """Whether this operation can be tried: in others, the parameter has no effect."""
    serializer = getattr(view, "parameters", {}).get(request.method)
    return serializer is not None and DRY_RUN in serializer().get_fields()


def is_dry_run(request: Request) -> bool:
    """Raises ValidationError."""
    given = {name: value for name, value in request.query_params.items() if name == DRY_RUN}
    return bool(validate(DryRunQuery, given)[DRY_RUN])


def may_read(request: Request) -> bool:
    if isinstance(request.auth, Caller):
        return request.auth.has_scope(CONFIG_READ)
    return is_any(services(request.user, Right.VIEW))


def options(request: Request) -> WriteOptions:
    """The options in the query. Raises ValidationError and Forbidden."""
    found = WriteOptions(**validate_query(WriteQuery, request))
    if found.allow_literal_secrets and found.dry_run and not _may_write(request):
        # The differences tell whether a guess at a stored secret is right.
        raise Forbidden(f"allow_literal_secrets requires the scope {CONFIG_WRITE}, or the right to configure")
    return found


def _may_write(request: Request) -> bool:
    """Whether the caller may write all that it may read."""
    if isinstance(request.auth, Caller):
        return request.auth.has_scope(CONFIG_WRITE)
    return services(request.user, Right.CONFIGURE) == services(request.user, Right.VIEW)


def visible_services(request: Request) -> Names:
    """The services that the key's scopes name, if they name any and not every service, or those of the member of
    staff; None for all.
    """
    if not isinstance(request.auth, Caller):
        return services(request.user, Right.VIEW)
    if request.auth.scopes is None:
        return None
    named = request.auth.scopes.difference(GATEWAY_SCOPES)
    return None if not named or EVERY_SERVICE in named else named


def changed_services(request: Request) -> Names:
    """The services that the request may change or, in a dry run, compare."""
    if isinstance(request.auth, Caller) or is_dry_run(request):
        return visible_services(request)
    return services(request.user, Right.CONFIGURE)


def is_limited_staff(request: Request) -> bool:
    """Whether it is a member of staff with rights for some services, who adds and deletes none."""
    return not isinstance(request.auth, Caller) and visible_services(request) is not None


def require_service(request: Request, name: str) -> None:
    """Raise Forbidden if the key is for other services. `access.permits` has compared the rights of staff."""
    if not within(name, visible_services(request)):
        raise Forbidden("the key is for other services")
