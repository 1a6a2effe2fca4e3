"""Errors of requests for documents: preconditions, representations and faults in what was sent."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from routing.errors import BadRequest, GatewayError


class DocumentFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault of a document, at a JSON pointer (RFC 6901). `line` is that of a text in YAML, from 1."""

    pointer: str
    detail: str
    line: int | None = None


class InvalidDocument(BadRequest):
    """`errors` are all faults that were found."""

    code = "invalid_request"
    title = "The request's content is not valid"

    def __init__(self, errors: Iterable[DocumentFault]) -> None:
        self.errors = tuple(errors)
        first = "".join(": ".join(filter(None, (fault.pointer, fault.detail))) for fault in self.errors[:1])
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        super().__init__(f"{first}{more}")


class NotAcceptable(GatewayError):
    status = HTTPStatus.NOT_ACCEPTABLE
    code = "not_acceptable"
    title = "There is no representation that the request accepts"


class PreconditionFailed(GatewayError):
    status = HTTPStatus.PRECONDITION_FAILED
    code = "precondition_failed"
    title = "The resource is not as the request requires"


class PreconditionRequired(GatewayError):
    status = HTTPStatus.PRECONDITION_REQUIRED
    code = "precondition_required"
    title = "The request must name the version that it changes"


class WouldDelete(GatewayError):
    status = HTTPStatus.CONFLICT
    code = "would_delete"
    title = "The request would delete what it does not contain"


class InUse(GatewayError):
    status = HTTPStatus.CONFLICT
    code = "in_use"
    title = "The service is named elsewhere in the configuration"


class UnknownDocument(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_document"
    title = "There is no such document"


class NotProposable(GatewayError):
    """A change that needs approval, and cannot wait for it as it is."""

    status = HTTPStatus.CONFLICT
    code = "not_proposable"
    title = "The change cannot wait for approval"


class TooManyProposals(GatewayError):
    status = HTTPStatus.CONFLICT
    code = "too_many_proposals"
    title = "Too many changes wait for approval"
