"""The pages of advice: what was found, and the draft of a change, which is applied after a review."""

import contextlib
from typing import Any, Final

from django import forms
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from metrics.advice import circuits, drafts, overview
from metrics.advice.drafts import UnknownDraft
from metrics.advice.records import Advice, ChangedSetting, Draft, Topic
from metrics.audit import staff_actor
from metrics.dashboard.views import services_form, services_page, shown
from routing.configuration.faults import ConfigurationError
from routing.configuration_errors import PreconditionFailed
from routing.errors import GatewayError
from routing.pages.rendering import render
from routing.rights import Right, may, require, within

TOPICS: Final = (
    (Topic.TTL, gettext_lazy("Cache lifetimes"), gettext_lazy("no lifetime is found to be too short or too long")),
    (
        Topic.ROUTE,
        gettext_lazy("Routes that nobody calls"),
        gettext_lazy("every route was called, or is too new to tell"),
    ),
    (
        Topic.KEY,
        gettext_lazy("API keys that nobody uses"),
        gettext_lazy("every active key was used in the last 100 days, or is newer"),
    ),
    (
        Topic.LIMIT,
        gettext_lazy("Limits that nobody reaches"),
        gettext_lazy("no limit is found to be far above what is used"),
    ),
)
TITLES: Final = {
    ChangedSetting.TTL: gettext_lazy("Change how long responses are kept"),
    ChangedSetting.DISABLE: gettext_lazy("Disable a route"),
    ChangedSetting.RATE: gettext_lazy("Change a rate limit"),
    ChangedSetting.QUOTA: gettext_lazy("Change a quota"),
    ChangedSetting.BREAKER: gettext_lazy("Change a circuit breaker"),
    ChangedSetting.REVOKE: gettext_lazy("Revoke an API key"),
}


class DraftForm(forms.Form):
    """A draft in a query. Values are those of the configuration file, which its own parsers check."""

    change = forms.ChoiceField(choices=[(change.value, change.value) for change in ChangedSetting])
    service = forms.CharField(required=False, max_length=63)
    route = forms.CharField(required=False, max_length=500)
    plan = forms.CharField(required=False, max_length=63)
    per = forms.CharField(required=False, max_length=10)
    key = forms.CharField(required=False, max_length=20)
    value = forms.CharField(required=False, max_length=40)
    failure_threshold = forms.IntegerField(required=False, min_value=0, max_value=10_000)
    window = forms.CharField(required=False, max_length=20)
    open_for = forms.CharField(required=False, max_length=20)

    def draft(self) -> Draft:
        """Raises Http404 for what no page links to."""
        if not self.is_valid():
            raise Http404("there is no such draft")
        data = {name: value for name, value in self.cleaned_data.items() if value}
        return Draft(**data | {"change": ChangedSetting(data["change"])})


@services_page
def advice_page(request: HttpRequest) -> HttpResponse:
    """The page of advice. `?done=` is set after a change."""
    found: list[Advice] | None = None
    opened: list[tuple[str, int]] = []
    names = shown(request)
    with contextlib.suppress(DatabaseError, InterfaceError):
        opened = [each for each in circuits.opened_circuits() if within(each[0], names)]
        found = [each for each in overview.all_advice() if within(each.service, names)]
    context = {
        "page": "advice",
        "is_available": found is not None,
        "is_done": "done" in request.GET,
        "opened": opened,
        "groups": [
            {"id": topic.value, "title": title, "none": none, "rows": _rows(found or [], topic)}
            for topic, title, none in TOPICS
        ],
    }
    return render(request, "dashboard/advice.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@services_form
def draft_page(request: HttpRequest) -> HttpResponse:
    """Show what a draft would change; with POST, change it. The configuration may have changed in between."""
    draft = DraftForm(request.GET).draft()
    error, status = "", 200
    require(request.user, Right.VIEW, draft.owner)
    request.may_configure = may(request.user, Right.CONFIGURE, draft.owner)  # type: ignore[attr-defined] # for the template
    if request.method == "POST":
        require(request.user, Right.CONFIGURE, draft.owner)
        try:
            drafts.apply(draft, request.POST.get("tag", ""), staff_actor(request.user))
        except PreconditionFailed as fault:
            error, status = str(fault), fault.status
        except (UnknownDraft, GatewayError, ConfigurationError):
            pass  # the preview says what is wrong
        else:
            return HttpResponseRedirect(f"{reverse('dashboard:advice')}?done=1")
    return _draft(request, draft, error, status)


def _draft(request: HttpRequest, draft: Draft, error: str, status: int) -> HttpResponse:
    shown, faults = None, list[str]()
    try:
        shown = drafts.preview(draft)
    except UnknownDraft as fault:
        faults, status = [str(fault)], 404
    except ConfigurationError as invalid:
        faults, status = [str(fault) for fault in invalid.faults], 400
    except GatewayError as fault:
        faults, status = [str(fault)], fault.status
    context = {
        "page": "advice",
        "title": TITLES[draft.change],
        "draft": draft,
        "subject": _subject(draft),
        "error": error,
        "faults": faults,
        "lines": [(_tone(line), line) for line in shown.lines] if shown else [],
        "warnings": shown.warnings if shown else (),
        "tag": shown.tag if shown else "",
    }
    return render(request, "dashboard/draft.html", context, status=status)


def _rows(found: list[Advice], topic: Topic) -> list[dict[str, Any]]:
    return [
        {
            "service": advice.service,
            "subject": advice.subject,
            "text": advice.text,
            "label": advice.label,
            "url": draft_url(advice.draft) if advice.draft else "",
        }
        for advice in found
        if advice.topic is topic
    ]


def draft_url(draft: Draft) -> str:
    return f"{reverse('dashboard:draft')}?{draft.query}"


def _subject(draft: Draft) -> str:
    """What the draft is about."""
    return " ".join(
        part for part in (draft.service, draft.route, draft.plan and f"plan {draft.plan}", draft.key) if part
    )


def _tone(line: str) -> str:
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "")
