"""Entity tags and preconditions of documents (RFC 9110 section 13)."""

import re
from typing import Any, Final

from rest_framework.request import Request

from metrics.api.representations import JSON
from routing.configuration_errors import PreconditionFailed, PreconditionRequired
from routing.database.config_file import digest

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_WEAK: Final = "; a weak tag never matches: a proxy may have compressed the response and weakened its tag"


def entity_tag(value: Any, media: str) -> str:
    """A strong tag. The representations of a document have different ones, any of which If-Match accepts."""
    return f'"{digest(value)}-{"json" if media == JSON else "yaml"}"'


def is_unchanged(request: Request, tag: str) -> bool:
    """Whether If-None-Match says that the client has this representation."""
    field = request.headers.get("If-None-Match", "")
    return field.strip() == "*" or any(f'"{opaque}"' == tag for _, opaque in _TAG.findall(field))


def check(request: Request, value: Any, *, required: bool) -> None:
    """Evaluate If-Match and If-None-Match for a change of `value`, which is None if there is none yet.

    `If-Match: *` accepts any version, and none. Raises PreconditionFailed, and PreconditionRequired if `required` and
    there is a version that the request does not name.
    """
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None:
        _check_match(match, value)
    elif none_match is None and required and value is not None:
        raise PreconditionRequired("send If-Match with the ETag of the version that you change, or * for any")
    if none_match is not None and value is not None and _names(none_match, value, weak=True):
        raise PreconditionFailed("there is such a version already")


def _check_match(field: str, value: Any) -> None:
    if field.strip() == "*":
        return
    if value is None or not _names(field, value, weak=False):
        if _TAG.search(field) is None:
            raise PreconditionFailed("If-Match has no entity tag: write the ETag with its double quotes")
        hint = _WEAK if "W/" in field else ""
        raise PreconditionFailed(f"it has been changed since: get it again, and apply your change to that{hint}")


def _names(field: str, value: Any, *, weak: bool) -> bool:
    """Whether one of the tags is that of a representation of `value`."""
    current = digest(value)
    tags = _TAG.findall(field)
    return field.strip() == "*" or any(
        opaque in (f"{current}-json", f"{current}-yaml") for is_weak, opaque in tags if weak or not is_weak
    )
