"""The gateway's pages in another project: each view is wrapped in what middleware does in the gateway's own."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, URLResolver

from gateway_project.pages.middleware import POLICY
from metrics import approvals
from metrics.middleware import RequestIdMiddleware
from routing.middleware import ActorMiddleware, BodyLimitMiddleware
from routing.pages.rendering import ENGINE, ViewFunction
from routing.pages.site import NAME

Pattern = URLPattern | URLResolver

MIDDLEWARE: Final = (ActorMiddleware, BodyLimitMiddleware, RequestIdMiddleware)
"""From the innermost to the outermost."""
API_VIEW: Final = "cls"
"""The attribute by which tools find views for a project's own OpenAPI document: these are not part of it."""


def adapted(patterns: Iterable[Pattern], policy: str = POLICY) -> list[Pattern]:
    """The same patterns, with adapted views. `policy` is their Content-Security-Policy, unless they set one.

    All decide for themselves who may see them: many are for API keys, which a project's LoginRequiredMiddleware would
    redirect to a login.
    """
    return [_adapted(each, policy) for each in patterns]


def _adapted(pattern: Pattern, policy: str) -> Pattern:
    if isinstance(pattern, URLPattern):
        return URLPattern(pattern.pattern, _view(pattern.callback, policy), pattern.default_args, pattern.name)
    inner = [_adapted(each, policy) for each in pattern.url_patterns]
    return URLResolver(pattern.pattern, inner, pattern.default_kwargs, pattern.app_name, pattern.namespace)


def _view(view: ViewFunction, policy: str) -> ViewFunction:
    @wraps(view)
    def adapted_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # By which `{% url "admin:…" %}` finds the gateway's admin, not the project's.
        request.current_app = NAME

        def respond(request: HttpRequest) -> HttpResponseBase:
            if approvals.may_propose(request, view):
                return approvals.reviewed(request, view, args, kwargs)
            return view(request, *args, **kwargs)

        handle: Callable[[HttpRequest], HttpResponseBase] = respond
        for middleware in MIDDLEWARE:
            handle = middleware(handle)
        response = handle(request)
        if isinstance(response, SimpleTemplateResponse):
            response.using = ENGINE
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    adapted_view.__dict__.pop(API_VIEW, None)
    return login_not_required(adapted_view)
