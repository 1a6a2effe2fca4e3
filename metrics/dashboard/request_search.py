"""The form of the page of requests: what is searched for."""

from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from metrics.dashboard.range_forms import RangeForm
from metrics.dashboard.request_rows import WHY
from metrics.request_log.identifiers import id_in, key_prefix
from metrics.request_log.record import RecordKind
from metrics.request_log.search import RequestQuery
from routing.rights import Names

TEXTS: Final = ("id", "caller", "key", "consumer", "team", "service", "route", "method", "code")
STATUS: Final = r"[1-5]xx|[1-5][0-9]{2}"
TIMES: Final = {"start": "from", "end": "to"}
"""The names that times of the form have in the API."""


class RequestsForm(RangeForm):
    """An invalid value is shown with its error, and left out of the search."""

    id = forms.CharField(required=False, max_length=128)
    service = forms.CharField(required=False, max_length=63)
    route = forms.CharField(required=False, max_length=500)
    method = forms.CharField(required=False, max_length=32)
    status = forms.RegexField(
        rf"^(?i:{STATUS})\Z",
        required=False,
        strip=True,
        error_messages={"invalid": gettext_lazy("A status is 404, or a class such as 5xx.")},
    )
    code = forms.CharField(required=False, max_length=60)
    caller = forms.CharField(required=False, max_length=300)
    key = forms.CharField(required=False, max_length=20)
    consumer = forms.CharField(required=False, max_length=300)
    team = forms.CharField(required=False, max_length=300)
    kind = forms.ChoiceField(choices=[(kind.value, WHY[kind]) for kind in RecordKind], required=False)
    start = forms.DateTimeField(required=False)
    end = forms.DateTimeField(required=False)
    out_of_order = gettext_lazy("The start must not be after the end.")

    def clean_id(self) -> str:
        text: str = self.cleaned_data["id"]
        return id_in(text) or text

    def clean_status(self) -> str:
        text: str = self.cleaned_data["status"]
        return text.lower()

    def clean_key(self) -> str:
        return key_prefix(self.cleaned_data["key"])

    @property
    def is_searched(self) -> bool:
        return any(self.cleaned_data.values())

    def query(self, names: Names = None) -> RequestQuery:
        """The query for these services, once the form has been validated."""
        data: dict[str, Any] = self.cleaned_data
        times = {name: data[name].timestamp() for name in TIMES if data.get(name)}
        texts = {name: data[name] for name in (*TEXTS, "status") if data.get(name)}
        return RequestQuery(kind=RecordKind(data["kind"]) if data.get("kind") else None, names=names, **texts, **times)

    @property
    def api_query(self) -> str:
        """The same search as the query of `GET /metrics/requests`, once the form has been validated."""
        query = self.query()
        found: dict[str, str] = {name: getattr(query, name) for name in (*TEXTS, "status")}
        times = {TIMES[name]: self.cleaned_data.get(name) for name in TIMES}
        found |= {name: at.isoformat().replace("+00:00", "Z") for name, at in times.items() if at}
        found["kind"] = query.kind or ""
        return urlencode({name: value for name, value in found.items() if value})


def read_form(parameters: QueryDict) -> RequestsForm:
    form = RequestsForm(parameters)
    form.is_valid()
    return form
