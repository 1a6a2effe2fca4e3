"""Renders pages with the gateway's own templates, whatever else a project has of the same name."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django import shortcuts
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import engines

ViewFunction = Callable[..., HttpResponseBase]

ENGINE: Final = "gateway"
"""The template engine of the pages in a project that includes the gateway. Its own project has one engine."""


def engine() -> str | None:
    """What Django's functions take as `using`."""
    return ENGINE if ENGINE in engines.templates else None


def render(
    request: HttpRequest, template: str, context: Mapping[str, Any] | None = None, status: int | None = None
) -> HttpResponse:
    return shortcuts.render(request, template, context, status=status, using=engine())
