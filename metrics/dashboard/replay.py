"""The page on which a draft of the configuration is replayed before it is applied."""

from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from metrics import selectors
from metrics.dashboard.numbers import decimal_text
from metrics.dashboard.request_rows import clock_text
from metrics.dashboard.views import staff_form
from metrics.replay.comparison import Comparison, Example
from metrics.replay.decision import Decision, Verdict
from metrics.replay.replay import DEFAULT_LIMIT, MAX_DRAFT, MAX_LIMIT, Replay, Selection, replay
from metrics.replay.report import notes, request_url
from metrics.request_log.search import FoundRecord
from metrics.timestamps import iso_timestamp
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.database.config_file import stored_document
from routing.database.document_diff import text_lines
from routing.database.draft import ChangeConfiguration, apply_file, approve_proposal, restore_revision
from routing.errors import GatewayError
from routing.models import ConfigurationProposal, ConfigurationRevision
from routing.pages.rendering import render
from routing.rights import Right, may, needed

REVISIONS: Final = 20
"""How many revisions the form offers, the latest ones."""
TONES: Final = {Verdict.LIMITED: "warn", Verdict.REFUSED: "warn", Verdict.FAILED: "bad"}
TITLES: Final = {
    Verdict.ROUTED: gettext_lazy("Routed to a backend"),
    Verdict.CACHED: gettext_lazy("Answered from the cache"),
    Verdict.LIMITED: gettext_lazy("Over a limit"),
    Verdict.REFUSED: gettext_lazy("Refused"),
    Verdict.FAILED: gettext_lazy("Failed"),
}
DIFFERENCES: Final = {"cache_rule": gettext_lazy("cache rule"), "cache_key": gettext_lazy("cache key")}


class ReplayForm(forms.Form):
    """A draft, a revision to return to, or a proposal that waits for approval."""

    draft = forms.CharField(required=False, max_length=MAX_DRAFT, strip=False)
    revision = forms.ModelChoiceField(ConfigurationRevision.objects.all(), required=False)
    proposal = forms.ModelChoiceField(ConfigurationProposal.objects.all(), required=False)
    prune = forms.BooleanField(required=False)
    service = forms.CharField(required=False, max_length=63)
    start = forms.DateTimeField(required=False)
    end = forms.DateTimeField(required=False)
    limit = forms.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        chosen = (data.get("revision"), data.get("proposal"), (data.get("draft") or "").strip())
        if not self.errors and not any(chosen):
            self.add_error("draft", _("Paste a draft of the configuration file, or choose a revision or a proposal."))
        return data

    def change(self) -> ChangeConfiguration:
        """Raises ConfigurationError."""
        data = self.cleaned_data
        if data["proposal"] is not None:
            return approve_proposal(data["proposal"])
        if data["revision"] is not None:
            return restore_revision(data["revision"])
        return apply_file(parse(data["draft"]), prune=data["prune"])

    def selection(self) -> Selection:
        data = self.cleaned_data
        start, end = (data[name].timestamp() if data[name] else None for name in ("start", "end"))
        return Selection(service=data["service"], start=start, end=end, limit=data["limit"] or DEFAULT_LIMIT)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_form
def replay_page(request: HttpRequest) -> HttpResponse:
    """GET shows the form: with the settings of `?service=`, or a `?revision=` or `?proposal=` chosen. POST replays."""
    if not may(request.user, Right.CONFIGURE):
        raise PermissionDenied(needed(Right.CONFIGURE))
    context: dict[str, Any] = {
        "page": "requests",
        "revisions": ConfigurationRevision.objects.defer("document", "secrets")[:REVISIONS],
        "proposals": ConfigurationProposal.objects.filter(state=ConfigurationProposal.State.WAITING)[:REVISIONS],
        "services": selectors.service_names(),
        "limit": DEFAULT_LIMIT,
        "max_limit": MAX_LIMIT,
    }
    if request.method != "POST":
        return render(request, "dashboard/replay.html", {**context, "values": _initial(request)})
    form = ReplayForm(request.POST)
    context |= {"values": request.POST, "errors": form.errors}
    if not form.is_valid():
        return render(request, "dashboard/replay.html", context)
    try:
        result = replay(form.change(), form.selection())
    except ConfigurationError as error:
        faults = [str(fault) for fault in error.faults]
        return render(request, "dashboard/replay.html", {**context, "faults": faults})
    except GatewayError as error:
        return render(request, "dashboard/replay.html", {**context, "faults": [error.detail]}, status=error.status)
    return render(request, "dashboard/replay.html", {**context, **_result(result)})


def _initial(request: HttpRequest) -> dict[str, str]:
    service, revision = request.GET.get("service", ""), request.GET.get("revision", "")
    draft = ""
    if service in selectors.service_names():
        draft = dump(stored_document(frozenset({service})))
    return {"draft": draft, "service": service, "revision": revision, "proposal": request.GET.get("proposal", "")}


def _result(result: Replay) -> dict[str, Any]:
    comparison = result.comparison
    return {
        "result": result,
        "comparison": comparison,
        "seconds": decimal_text(result.seconds, 1),
        "verdicts": list(_verdicts(comparison)),
        "transitions": [
            {
                "now": TITLES[each.now],
                "draft": TITLES[each.draft],
                "tone": TONES.get(each.draft, ""),
                "of": each.count,
                "number": round(each.count.requests),
            }
            for each in comparison.transitions
        ],
        "changes": text_lines(result.draft.diff.to_document()),
        "examples": [_example(each, result.records[each.index]) for each in comparison.examples],
        "notes": list(notes(result)),
    }


def _verdicts(comparison: Comparison) -> Any:
    for verdict, title in TITLES.items():
        now, draft = comparison.now[verdict].requests, comparison.draft[verdict].requests
        yield {"title": title, "now": now, "draft": draft, "more": _signed(draft - now) if draft != now else ""}


def _signed(number: float) -> str:
    return f"{'+' if number > 0 else '-'}{decimal_text(abs(number), 0)}"


def _example(example: Example, found: FoundRecord) -> dict[str, Any]:
    record = found.record
    return {
        "url": request_url(found),
        "method": record.method,
        "target": record.target_path,
        "time": clock_text(record.at),
        "iso": iso_timestamp(record.at),
        "caller": record.consumer or record.caller,
        "now": _decision(example.now),
        "draft": _decision(example.draft),
        "stores_otherwise": "cache_rule" in example.differences,
        "differences": ", ".join(str(DIFFERENCES.get(name, name)) for name in example.differences),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    place = f"{decision.service}{decision.route}" or _("no service")
    return {
        "title": f"{decision.status} {decision.verdict.value}",
        "tone": TONES.get(decision.verdict, ""),
        "code": decision.code,
        "place": place,
        "cache": decision.cache_rule,
    }
