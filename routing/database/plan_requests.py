"""Requests of consumers for another plan, and what staff decide about them."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from routing.database import touched
from routing.models import Consumer, Plan, PlanRequest


class NotPossible(Exception):
    """Why a request cannot be made or decided: a text for the page."""


def request_plan(consumer: Consumer, plan: Plan | None, reason: str, requested_by: str) -> PlanRequest:
    """Raises NotPossible, also where another request waits for a decision."""
    with transaction.atomic():
        Consumer.objects.select_for_update().get(pk=consumer.pk)
        if consumer.plan_requests.filter(state=PlanRequest.State.PENDING).exists():
            raise NotPossible(_("A request is waiting for a decision already."))
        if plan is not None and not plan.offered:
            raise NotPossible(_("There is no such plan."))
        if plan is not None and plan.pk == consumer.plan_id:
            raise NotPossible(_("This is your plan already."))
        return PlanRequest.objects.create(consumer=consumer, plan=plan, reason=reason, requested_by=requested_by)


def withdraw(consumer: Consumer) -> bool:
    """Withdraw the request that waits, if there is one."""
    with transaction.atomic():
        request = consumer.plan_requests.select_for_update().filter(state=PlanRequest.State.PENDING).first()
        if request is None:
            return False
        request.state, request.decided_at = PlanRequest.State.WITHDRAWN, timezone.now()
        request.save()
        return True


def approve(request: PlanRequest, plan: Plan, note: str, actor: str) -> None:
    """Give the consumer this plan. Raises NotPossible if the request has been decided or withdrawn.

    A member has asked and staff agree: it needs no approval by a third person.
    """
    with transaction.atomic(), touched.agreed():
        row = _decide(request, PlanRequest.State.APPROVED, note, actor)
        row.plan = plan
        row.save()
        consumer = Consumer.objects.select_for_update().get(pk=row.consumer_id)
        consumer.plan = plan
        consumer.save()


def refuse(request: PlanRequest, note: str, actor: str) -> None:
    """Raises NotPossible if the request has been decided or withdrawn."""
    with transaction.atomic():
        _decide(request, PlanRequest.State.REFUSED, note, actor).save()


def _decide(request: PlanRequest, state: PlanRequest.State, note: str, actor: str) -> PlanRequest:
    row = PlanRequest.objects.select_for_update().get(pk=request.pk)
    if row.state != PlanRequest.State.PENDING:
        raise NotPossible(_("The request has been decided already: %(state)s.") % {"state": row.get_state_display()})
    row.state, row.note, row.decided_by, row.decided_at = state, note, actor, timezone.now()
    return row
