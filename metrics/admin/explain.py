"""The page that explains what the gateway would do with a request, step by step."""

import msgspec
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from metrics.explain import ExplainRequest, explain
from routing.configuration.document import inline
from routing.errors import Forbidden
from routing.explain.explanation import Explanation
from routing.pages.rendering import render
from routing.pages.site import admin_site
from routing.rights import Names, Right, is_any, needed, services

METHOD_CHOICES = [(method, method) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")]
SECTIONS = ("rate_limit", "access", "service", "cache", "circuit", "call")
"""Sections of an explanation that are listed as they are, in the order of the steps."""


class ExplainForm(forms.Form):
    method = forms.ChoiceField(
        label=_("Method"), choices=METHOD_CHOICES, required=False, widget=UnfoldAdminSelectWidget
    )
    path = forms.CharField(
        label=_("Path"),
        max_length=4_000,
        widget=UnfoldAdminTextInputWidget({"placeholder": "/api/v1/crm/contacts?page=2"}),
    )
    caller = forms.CharField(
        label=_("Caller"),
        max_length=400,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("key:<prefix>, firebase:<uid> or jwt+<issuer>:<subject>; empty: no credential"),
    )
    ip = forms.GenericIPAddressField(
        required=False,
        label=_("Client address"),
        widget=UnfoldAdminTextInputWidget({"placeholder": "192.0.2.1"}),
        help_text=_("for lists of addresses; empty: these are not applied"),
    )
    headers = forms.CharField(
        label=_("Header fields"),
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text=_("one per line, as Name: value"),
    )

    def clean_headers(self) -> dict[str, str]:
        lines = [line.partition(":") for line in self.cleaned_data["headers"].splitlines() if line.strip()]
        if any(not colon or not name.strip() for name, colon, _value in lines):
            raise forms.ValidationError(_("Enter each header as Name: value."))
        return {name.strip(): value.strip() for name, _, value in lines}

    def explanation(self, names: Names) -> Explanation | None:
        """The explanation, for one of these services; None, with an error at the invalid field, if there is none."""
        data = self.cleaned_data
        caller = data["caller"].strip() or None
        try:
            question = ExplainRequest(
                data["path"], data["method"] or "GET", data["headers"], caller, data["ip"] or None
            )
            return explain(question, names)
        except Forbidden as error:
            self.add_error("path", error.detail)
        except UnicodeEncodeError:
            self.add_error("headers", _("A header value contains characters that HTTP does not allow."))
        except ValueError as error:
            self.add_error("path" if "path" in str(error) else "caller", str(error))
        return None


def explain_page(request: HttpRequest) -> HttpResponse:
    """`/admin/explain/`. The form is sent by GET, since it changes nothing. Raises PermissionDenied."""
    names = services(request.user, Right.VIEW)
    if not is_any(names):
        raise PermissionDenied(needed(Right.VIEW))
    form = ExplainForm(request.GET if "path" in request.GET else None, initial={"path": "/api/v1/"})
    explanation = form.explanation(names) if form.is_bound and form.is_valid() else None
    context = {
        **admin_site().each_context(request),
        "title": _("Explain a request"),
        "form": form,
        "explanation": explanation,
        "steps": [] if explanation is None else _sections(explanation),
    }
    return render(request, "admin/gateway/explain.html", context)


def _sections(explanation: Explanation) -> list[tuple[str, list[tuple[str, str]]]]:
    document = msgspec.structs.asdict(explanation)
    return [
        (name.replace("_", " "), [(key.replace("_", " "), _format(value)) for key, value in document[name].items()])
        for name in SECTIONS
        if document[name]
    ]


def _format(value: object) -> str:
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else inline(value)
