"""A consumer's plan, and requests for another one."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from metrics.portal.access import MemberRequest, member_page
from metrics.portal.allowed import allowed_of
from metrics.portal.forms import PlanForm
from metrics.request_rates import exceeds
from routing.database.plan_requests import NotPossible, request_plan, withdraw
from routing.models import Consumer, Plan, PlanRequest

REQUEST_RATE: Final = "10/d"
"""The limit of one consumer's requests for plans."""
EACH: Final[dict[str, Promise]] = {
    "s": gettext_lazy("%(number)s requests per second"),
    "m": gettext_lazy("%(number)s requests per minute"),
    "h": gettext_lazy("%(number)s requests per hour"),
    "d": gettext_lazy("%(number)s requests per day"),
}
WITHIN: Final[dict[str, Promise]] = {
    "s": gettext_lazy("%(number)s requests in %(count)s seconds"),
    "m": gettext_lazy("%(number)s requests in %(count)s minutes"),
    "h": gettext_lazy("%(number)s requests in %(count)s hours"),
    "d": gettext_lazy("%(number)s requests in %(count)s days"),
}
PER: Final[dict[str, Promise]] = {
    "hour": EACH["h"],
    "day": EACH["d"],
    "week": gettext_lazy("%(number)s requests per week"),
    "month": gettext_lazy("%(number)s requests per month"),
    "year": gettext_lazy("%(number)s requests per year"),
}
MAX_REQUESTS: Final = 20
"""The most requests for plans that are listed."""


@member_page
@require_http_methods(["GET", "HEAD", "POST"])
def plan_page(request: MemberRequest) -> HttpResponse:
    consumer = request.member.consumer
    current = plan_of(consumer)
    offered = Plan.objects.filter(offered=True).exclude(pk=current.pk if current else 0)
    form = PlanForm(offered, request.POST or None, initial={"plan": offered.first()})
    if request.method == "POST" and form.is_valid() and _request(request, form):
        return redirect("portal:plan")
    requests = list(consumer.plan_requests.select_related("plan")[:MAX_REQUESTS])
    context = {
        "page": "plan",
        "plan": current,
        "limits": limits_of(current) if current else [],
        "services": allowed_of(consumer).services,
        "offered": [(plan, limits_of(plan)) for plan in offered],
        "form": form,
        "requests": requests,
        "pending": next((each for each in requests if each.state == PlanRequest.State.PENDING), None),
    }
    return render(request, "portal/plan.html", context)


@member_page
@require_POST
def withdraw_request(request: MemberRequest) -> HttpResponse:
    if withdraw(request.member.consumer):
        messages.success(request, _("The request has been withdrawn."))
    return redirect("portal:plan")


def plan_of(consumer: Consumer) -> Plan | None:
    """The consumer's own plan, or else its team's."""
    return consumer.plan or (consumer.team.plan if consumer.team else None)


def limits_of(plan: Plan) -> list[str]:
    """A plan's limits and services as a person reads them."""
    found = [_rate(plan)] if plan.rate else []
    quotas = [item for item in _items(plan.quota) if item.get("per") in PER]
    found += [str(PER[item["per"]]) % {"number": _number(item["amount"])} for item in quotas]
    if plan.concurrency:
        found.append(_("%(number)s requests in flight") % {"number": _number(plan.concurrency)})
    if isinstance(plan.services, list):
        names = ", ".join(_service(each) for each in plan.services)
        found.append(_("services: %(names)s") % {"names": names} if names else _("no services"))
    return found


def _rate(plan: Plan) -> str:
    """A rate that was not checked, as one of a restored row, is shown as it is written."""
    limit, _slash, period = plan.rate.strip().partition("/")
    count, unit = period[:-1], period[-1:]
    if not limit.isdigit() or unit not in EACH:
        return plan.rate
    text = str(WITHIN[unit] if count else EACH[unit]) % {"number": _number(int(limit)), "count": count}
    return _("%(rate)s, at most %(number)s at once") % {"rate": text, "number": plan.burst} if plan.burst else text


def _number(value: int) -> str:
    return str(number_format(value, force_grouping=True))


def _service(value: Any) -> str:
    """`crm`, or `{crm: {methods: [GET]}}` as `crm (GET)`."""
    for name, settings in _items([value])[0].items() if isinstance(value, dict) else ():
        methods = settings.get("methods") if isinstance(settings, dict) else None
        return f"{name} ({', '.join(methods)})" if methods else str(name)
    return str(value)


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _request(request: MemberRequest, form: PlanForm) -> bool:
    consumer = request.member.consumer
    if exceeds(request, "portal.plans", lambda *_: str(consumer.pk), REQUEST_RATE, count=True):
        form.add_error(None, _("Too many requests within a day. Try again tomorrow."))
        return False
    try:
        request_plan(consumer, form.cleaned_data.get("plan"), form.cleaned_data["reason"], request.member.email)
    except NotPossible as reason:
        form.add_error(None, str(reason))
        return False
    messages.success(request, _("Your request has been sent. You see the answer here."))
    return True
