"""The page that explains what the gateway would do with a request, step by step."""

import re
from decimal import Decimal
from typing import Any, Final

import msgspec
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from metrics.explain import ExplainRequest, explain
from routing.errors import Forbidden
from routing.explain.explanation import Explanation
from routing.pages.rendering import render
from routing.pages.site import admin_site
from routing.rights import Names, Right, is_any, needed, services
from routing.router.policy import Timeout

METHOD_CHOICES = [(method, method) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")]
SECTIONS = {
    "rate_limit": _("Rate limit"),
    "access": _("Access"),
    "service": _("Service"),
    "cache": _("Cache"),
    "circuit": _("Circuit"),
    "call": _("Call"),
}
"""Sections of an explanation that are listed, in the order of the steps. Their keys are those of the configuration."""
SECONDS: Final = frozenset(
    (
        "window",
        "ttl",
        "stale_while_revalidate",
        "stale_if_error",
        "retry_after",
        "max",
        "max_age",
        "leeway",
        *Timeout.__struct_fields__,
    )
)
"""Names of durations in seconds, wherever they stand."""
SHARES: Final = frozenset(("share", "budget"))
REQUESTS: Final = "limit"
PERCENT: Final = "canary"
MAP_OF_SECONDS: Final = "held_off"
METHOD: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,31}")


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

    def __init__(self, data: QueryDict | None, *, initial: dict[str, Any]) -> None:
        """A method that a link names is offered too: requests with any are recorded."""
        super().__init__(data, initial=initial)
        asked = data.get("method", "") if data is not None else ""
        known = [choice for choice, _title in METHOD_CHOICES]
        if METHOD.fullmatch(asked) and asked not in known:
            offered = [*METHOD_CHOICES, (asked, asked.upper())]
            self.fields["method"] = forms.ChoiceField(
                label=_("Method"), choices=offered, required=False, widget=UnfoldAdminSelectWidget
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
        (str(title), [(key.replace("_", " "), _format(key, value)) for key, value in document[name].items()])
        for name, title in SECTIONS.items()
        if document[name]
    ]


def _format(name: str, value: object) -> str:
    """A value in words, with the unit of each number. Mappings and lists within others have brackets."""
    if isinstance(value, dict) and value:
        parts = {key: ("ttl" if name == MAP_OF_SECONDS else key, each) for key, each in value.items()}
        return ", ".join(f"{key}: {_bracketed(*part)}" for key, part in parts.items())
    if isinstance(value, list | tuple) and value:
        return ", ".join(_bracketed(name, each) for each in value)
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, int | float):
        return _measured(name, value)
    return str(value) if value else gettext("none")


def _bracketed(name: str, value: object) -> str:
    text = _format(name, value)
    if isinstance(value, dict) and value:
        return f"{{{text}}}"
    return f"[{text}]" if isinstance(value, list | tuple) and value else text


def _measured(name: str, value: float) -> str:
    if name in SECONDS:
        return f"{_number(value)} s"
    if name in SHARES:
        return f"{_number(value * 100)} %"
    if name == PERCENT:
        return f"{_number(value)} %"
    if name == REQUESTS:
        return ngettext("%(number)s request", "%(number)s requests", int(value)) % {"number": _number(value)}
    return _number(value)


def _number(value: float) -> str:
    """In the page's language, with the digits that it has."""
    return number_format(Decimal(f"{value:.12g}").normalize() + 0, use_l10n=True, force_grouping=True)
