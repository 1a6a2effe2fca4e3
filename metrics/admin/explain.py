"""Explain as a page: a request in words, and its way through the gateway step by step."""

import msgspec
from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from metrics.explain import ExplainRequest, explain
from routing.configuration.document import inline
from routing.explain.explanation import Explanation

METHODS = [(method, method) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")]
STEPS = ("rate_limit", "access", "service", "cache", "circuit", "call")
"""The parts of an explanation that are shown as they are, in the request's order."""


class ExplainForm(forms.Form):
    method = forms.ChoiceField(choices=METHODS, required=False, widget=UnfoldAdminSelectWidget)
    path = forms.CharField(
        max_length=4_000, widget=UnfoldAdminTextInputWidget({"placeholder": "/api/v1/crm/contacts?page=2"})
    )
    caller = forms.CharField(
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="key:<prefix> or firebase:<uid>; empty: no credential",
    )
    headers = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget({"rows": 3}), help_text="one a line: Name: value"
    )

    def clean_headers(self) -> dict[str, str]:
        lines = [line.partition(":") for line in self.cleaned_data["headers"].splitlines() if line.strip()]
        if any(not colon or not name.strip() for name, colon, _ in lines):
            raise forms.ValidationError("Write each header as Name: value.")
        return {name.strip(): value.strip() for name, _, value in lines}

    def explained(self) -> Explanation | None:
        """The answer; None, with the fault at its field, for what is no request."""
        data = self.cleaned_data
        caller = data["caller"].strip() or None
        try:
            return explain(ExplainRequest(data["path"], data["method"] or "GET", data["headers"], caller))
        except UnicodeEncodeError:
            self.add_error("headers", "A header's value holds what HTTP cannot carry.")
        except ValueError as error:
            self.add_error("path" if "path" in str(error) else "caller", str(error))
        return None


def explain_page(request: HttpRequest) -> HttpResponse:
    """`/admin/explain/`: nothing is sent and nothing changed, so the question is in the address."""
    form = ExplainForm(request.GET if "path" in request.GET else None, initial={"path": "/api/v1/"})
    told = form.explained() if form.is_bound and form.is_valid() else None
    context = {
        **admin.site.each_context(request),
        "title": "Explain a request",
        "form": form,
        "told": told,
        "steps": [] if told is None else _steps(told),
    }
    return render(request, "admin/gateway/explain.html", context)


def _steps(told: Explanation) -> list[tuple[str, list[tuple[str, str]]]]:
    said = msgspec.structs.asdict(told)
    return [
        (name.replace("_", " "), [(key.replace("_", " "), _shown(value)) for key, value in said[name].items()])
        for name in STEPS
        if said[name]
    ]


def _shown(value: object) -> str:
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else inline(value)
