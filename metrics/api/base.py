"""What all endpoints of the metrics API share: authentication, JSON, problem documents and their documentation."""

from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar, Final, TypeVar

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.authentication import SessionAuthentication
from rest_framework.parsers import JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from metrics.api import access
from routing.errors import BadRequest

Parameters = Mapping[str, type[Serializer[Any]]]
"""Those of queries, by method."""
T = TypeVar("T", bound=Callable[..., HttpResponseBase])
TAKES_CONTENT: Final = "takes_content"
"""The attribute of an operation by which it says whether it reads the request's content."""
MAX_UNKNOWN: Final = 5
MAX_SHOWN: Final = 60
"""Unknown members, and characters of one, that an error names."""


def documented(
    name: str,
    output: type[Serializer[Any]],
    example: Any,
    *,
    code: int = 200,
    body: type[Serializer[Any]] | dict[str, Any] | None = None,
    examples: Sequence[OpenApiExample] = (),
    tag: str = "metrics",
) -> Callable[[T], T]:
    """Describe an operation in the OpenAPI schema: its response with an example, and its request body.

    A request body is a serializer, or a JSON schema by media type. The errors are added by `metrics.api.openapi`.
    """
    document: Callable[[T], T] = extend_schema(
        operation_id=name,
        request=body,
        responses={code: output},
        examples=[response_example(example, code), *examples],
        tags=[tag],
    )
    return lambda operation: marked(document(operation), takes_content=body is not None)


def marked(operation: T, *, takes_content: bool) -> T:
    """The operation with the mark that `MetricsView` reads."""
    setattr(operation, TAKES_CONTENT, takes_content)
    return operation


def response_example(value: Any, code: int, name: str = "response") -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[str(code)])


class JsonRequest(Request):
    """A request whose chunked body is read: REST framework takes a request without Content-Length for one without a
    body.
    """

    def _load_stream(self) -> None:
        if "Transfer-Encoding" in self._request.headers:
            body = self._request.body
            self._stream: Any = BytesIO(body) if body else None
        else:
            super()._load_stream()  # type: ignore[misc] # not in the stubs


class ProblemsView(APIView):
    """Errors are the gateway's problem documents."""

    def handle_exception(self, exc: Exception) -> Response:
        response: Any = access.problem_response(exc)
        if response is None:
            return super().handle_exception(exc)
        if response.status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
            response["Allow"] = ", ".join(self.allowed_methods)
        response.exception = True
        return response  # type: ignore[no-any-return] # REST framework accepts any HttpResponse


class MetricsView(ProblemsView):
    """Authenticates staff by session and programs by API key."""

    authentication_classes = (access.KeyAuthentication, SessionAuthentication)
    permission_classes: tuple[type[BasePermission], ...] = (access.ReadOrWritePermission,)
    limited: tuple[str, ...] = ()
    """Methods for staff with rights for some services: see `access.permits`. The others refuse them."""
    parameters: ClassVar[Parameters] = {}
    """What may be in the query of a write. Other parameters are refused: with a misspelt `dry_run` or `tag`, more would
    be written than is meant."""
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = access.JsonNegotiation

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:  # noqa: ARG002 - REST framework's signature
        return JsonRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = str(request.method)
        if method not in SAFE_METHODS and method in self.allowed_methods:
            serializer = self.parameters.get(method)
            check_parameters(request, serializer().get_fields() if serializer else ())
            if not getattr(getattr(self, method.lower()), TAKES_CONTENT, True):
                check_no_content(request)

    def check_throttles(self, request: Request) -> None:
        access.check_write_limit(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        response["Cache-Control"] = "private, no-store"
        return super().finalize_response(request, response, *args, **kwargs)


class LimitedReadView(MetricsView):
    """A view that staff with rights for some services may read. It shows only services in `access.visible`."""

    limited = ("GET", "HEAD")


def validate(serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    """Raises ValidationError."""
    bound = serializer(data=data)
    bound.is_valid(raise_exception=True)
    return dict(bound.validated_data)


def validate_body(serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    """The same for the content of a request that changes something, which may have no other members: with one that is
    misspelt, it would do something else than was meant. Raises ValidationError or BadRequest.
    """
    found = validate(serializer, data)
    known = serializer().get_fields()
    unknown = [name for name in data if name not in known]
    if unknown:
        shown = ", ".join(str(name)[:MAX_SHOWN] for name in unknown[:MAX_UNKNOWN])
        raise BadRequest(f"unknown: {shown}; known are {', '.join(known)}")
    return found


def validate_query(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Raises ValidationError, and BadRequest for a parameter that is unknown or given more than once.

    An empty parameter of a read is one that is not given: forms send those that were not filled in. One of a write is
    not: it would do more than was meant.
    """
    check_parameters(request, serializer().get_fields())
    query = request.query_params.dict()
    if request.method in SAFE_METHODS:
        query = {name: value for name, value in query.items() if value}
    return validate(serializer, query)


def check_no_content(request: Request) -> None:
    """Raise BadRequest for content of a write that reads none: with a `dry_run` there, it would write for real."""
    if request.data:
        raise BadRequest("this operation has no content: what it may be told is in the query")


def check_parameters(request: Request, known: Collection[str]) -> None:
    """Raises BadRequest."""
    for name, values in request.query_params.lists():
        if name not in known:
            listed = f"there are {', '.join(sorted(known))}" if known else "there are none here"
            raise BadRequest(f"unknown parameter {name[:MAX_SHOWN]!r}: {listed}")
        if len(values) > 1:
            raise BadRequest(f"the parameter {name!r} is given more than once")
