"""The record of a request for one of Django's pages that has failed, as the request log keeps it."""

from http import HTTPStatus
from typing import Final, NamedTuple

from django.http import HttpRequest

from metrics.request_log.record import MAX_PATH, RecordKind, RequestRecord, StepRecord, cut, mask_query

PAGE: Final = "page"
"""The only step of such a request."""


class PageFailure(NamedTuple):
    """`code` is that of an error, or an exception's name; `at` when the request began, in Unix time; `seconds` how long
    it took. `caller` is a member of staff, if it is known to be one.
    """

    status: int
    code: str
    at: float
    seconds: float
    caller: str = ""


def page_record(request: HttpRequest, identifier: str, failure: PageFailure) -> RequestRecord:
    status, code, at, seconds, caller = failure
    match = request.resolver_match
    return RequestRecord(
        at=at,
        id=identifier,
        kind=RecordKind.FAILED if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RecordKind.CLIENT_ERROR,
        method=cut(request.method or "", 32),
        scheme=request.scheme or "http",
        host=cut(request.META.get("HTTP_HOST", "")),
        path=cut(request.path, MAX_PATH),
        query=cut(mask_query(request.META.get("QUERY_STRING", "").encode("latin-1", "replace")), MAX_PATH),
        client=request.META.get("REMOTE_ADDR", ""),
        caller=caller,
        status=status,
        code=code,
        duration=seconds,
        head=seconds,
        steps=(StepRecord(PAGE, match.view_name if match is not None else "", seconds, code),),
    )
