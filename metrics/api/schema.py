"""The OpenAPI schema, made once: it depends on the code alone, and takes tens of milliseconds of processor time."""

import threading
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

from metrics.api.base import ProblemsView

MAX_FORMS: Final = 16
"""Renderings that are kept: formats and media types."""


class PublicView(ProblemsView):
    """A representation is sent also to a client that accepts none of them (RFC 9110 section 12.5.1)."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: ARG002 - REST framework's signature
        return super().perform_content_negotiation(request, force=True)


class DocumentationView(PublicView, SpectacularSwaggerSplitView):
    """The page that shows the schema."""

    template_name = "api_docs.html"


class SchemaView(PublicView, SpectacularAPIView):
    """Keeps each rendering in memory."""

    _rendered: Final[dict[tuple[str, str], tuple[bytes, str]]] = {}
    _generation: Final = threading.Lock()
    """drf_spectacular's first schema of a process fails if two are generated at once."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = request.GET.get("format", ""), request.headers.get("Accept", "")
        is_plain = request.method == "GET" and request.GET.keys() <= {"format"}
        if is_plain and (kept := self._rendered.get(form)) is not None:
            content, media_type = kept
            return HttpResponse(content, content_type=media_type, headers={"Vary": "Accept"})
        with self._generation:
            response: Any = super().dispatch(request, *args, **kwargs)
        if is_plain and response.status_code == 200 and len(self._rendered) < MAX_FORMS:
            response.add_post_render_callback(lambda done: self._keep(form, done))
        return response

    def _keep(self, form: tuple[str, str], response: Any) -> None:
        self._rendered[form] = response.content, response["Content-Type"]
