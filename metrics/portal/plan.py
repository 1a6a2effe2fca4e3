"""A consumer's plan, and requests for another one."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from metrics.portal.access import MemberRequest, member_page
from metrics.portal.allowed import allowed_of
from metrics.portal.forms import PlanForm
from metrics.request_rates import exceeds
from routing.database.plan_requests import NotPossible, request_plan, withdraw
from routing.models import Consumer, Plan, PlanRequest

REQUEST_RATE: Final = "10/d"
"""The limit of one consumer's requests for plans."""
UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
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
    found += [f"{item['amount']:,} requests per {item['per']}" for item in _items(plan.quota) if "per" in item]
    if plan.concurrency:
        found.append(f"{plan.concurrency} requests in flight")
    if isinstance(plan.services, list):
        names = [_service(each) for each in plan.services]
        found.append(f"services: {', '.join(names)}" if names else "no services")
    return found


def _rate(plan: Plan) -> str:
    limit, _, period = plan.rate.strip().partition("/")
    count, unit = period[:-1], UNITS.get(period[-1:], period)
    text = f"{limit} requests in {count} {unit}s" if count else f"{limit} requests per {unit}"
    return f"{text}, at most {plan.burst} at once" if plan.burst else text


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
