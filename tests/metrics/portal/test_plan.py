"""Requests for another plan: made in the portal, decided in the admin."""

import re

import pytest
from django.test import Client

from metrics.models import Operation
from routing.database import plan_requests
from routing.models import Plan, PlanRequest
from tests.metrics.portal.teams import Team, refresh
from tests.staff import member_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(db: None) -> Client:
    return member_of("Owner")


def ask(team: Team, reason: str = "we grow") -> PlanRequest:
    response = team.post("plan/", plan=Plan.objects.get(name="pro").pk, reason=reason)
    assert response.status_code == 302, response.content.decode()
    return PlanRequest.objects.get(state="pending")


def test_staff_approve_with_a_note_and_the_plan_is_live(acme: Team, owner: Client) -> None:
    request = ask(acme)
    assert "waits for an answer" in acme.text("plan/")
    path = f"/admin/routing/planrequest/{request.pk}/change/"
    assert "we grow" in owner.get(path).content.decode()
    response = owner.post(path, {"plan": request.plan_id, "note": "Welcome aboard.", "decision": "approve"})
    assert response.status_code == 302, response.content.decode()
    acme.consumer.refresh_from_db()
    assert acme.consumer.plan.name == "pro"
    refresh(acme.harness)
    page = acme.text("plan/")
    assert "approved" in page
    assert "Welcome aboard." in page
    assert "mail" in acme.text()
    actions = list(Operation.objects.order_by("pk").values_list("actor", "action"))
    member = f"member:{acme.member.email}"
    assert (member, "plan_request.created") in actions
    assert ("staff:ada", "plan_request.changed") in actions
    assert ("staff:ada", "consumer.changed") in actions


def test_staff_refuse_with_a_note(acme: Team, owner: Client) -> None:
    request = ask(acme)
    form = {"plan": request.plan_id, "note": "Not this year.", "decision": "refuse"}
    owner.post(f"/admin/routing/planrequest/{request.pk}/change/", form)
    acme.consumer.refresh_from_db()
    assert acme.consumer.plan.name == "free"
    assert "Not this year." in acme.text("plan/")
    ask(acme, "please")


def test_staff_choose_the_plan_where_none_was_named(acme: Team, owner: Client) -> None:
    acme.post("plan/", reason="ten times as many requests")
    request = PlanRequest.objects.get()
    path = f"/admin/routing/planrequest/{request.pk}/change/"
    assert "Choose the plan" in owner.post(path, {"decision": "approve"}).content.decode()
    assert owner.post(path, {"plan": Plan.objects.get(name="pro").pk, "decision": "approve"}).status_code == 302
    acme.consumer.refresh_from_db()
    assert acme.consumer.plan.name == "pro"


def test_a_list_is_decided_at_once(acme: Team, rival: Team, owner: Client) -> None:
    requests = []
    for team in (acme, rival):
        team.post("plan/", plan=Plan.objects.get(name="pro").pk, reason="")
        requests.append(PlanRequest.objects.get(consumer=team.consumer).pk)
    owner.post("/admin/routing/planrequest/", {"action": "approve_requests", "_selected_action": requests})
    assert set(PlanRequest.objects.values_list("state", flat=True)) == {"approved"}


def test_only_one_request_waits_and_it_can_be_withdrawn(acme: Team) -> None:
    request = ask(acme)
    assert "waiting for a decision" in acme.post("plan/", reason="again").content.decode()
    acme.post("plan/withdraw/")
    request.refresh_from_db()
    assert request.state == "withdrawn"
    with pytest.raises(plan_requests.NotPossible, match="decided already: Withdrawn"):
        plan_requests.approve(request, request.plan, "", "staff:ada")  # type: ignore[arg-type]  # it names one
    ask(acme)


def test_a_request_says_what_is_needed(acme: Team) -> None:
    assert "Say what you need." in acme.post("plan/", reason=" ").content.decode()
    assert not PlanRequest.objects.exists()


def test_the_plan_asked_for_may_be_deleted_meanwhile(acme: Team, owner: Client) -> None:
    request = ask(acme)
    Plan.objects.get(name="pro").delete()
    owner.post("/admin/routing/planrequest/", {"action": "approve_requests", "_selected_action": [request.pk]})
    request.refresh_from_db()
    assert (request.state, request.plan) == ("pending", None)
    assert "another plan" in acme.text("plan/")


def test_operators_see_requests_and_do_not_decide(acme: Team, staff_client: Client) -> None:
    request = ask(acme)
    path = f"/admin/routing/planrequest/{request.pk}/change/"
    page = staff_client.get(path)
    assert page.status_code == 200
    assert 'name="decision"' not in page.content.decode()
    token = staff_client.cookies["csrftoken"].value if "csrftoken" in staff_client.cookies else ""
    assert staff_client.post(path, {"decision": "approve", "csrfmiddlewaretoken": token}).status_code == 403


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_a_decision_on_what_was_withdrawn_meanwhile_is_not_made_and_says_so(
    acme: Team, owner: Client, decision: str
) -> None:
    request = ask(acme)
    acme.post("plan/withdraw/")
    path = f"/admin/routing/planrequest/{request.pk}/change/"
    pro = Plan.objects.get(name="pro").pk
    page = owner.post(path, {"plan": pro, "note": "", "decision": decision}, follow=True).content.decode()
    assert "decided already: Withdrawn" in page
    assert "was changed successfully" not in page
    request.refresh_from_db()
    acme.consumer.refresh_from_db()
    assert (request.state, acme.consumer.plan.name) == ("withdrawn", "free")


def test_the_present_plan_is_shown_as_a_person_reads_it(acme: Team) -> None:
    page = acme.text("plan/")
    assert "1,000 requests per minute" in page
    assert "100 requests per month" in page


def test_staff_are_told_where_a_file_would_set_the_plan_back(acme: Team, owner: Client) -> None:
    acme.consumer.origin = "file"
    acme.consumer.save()
    data = {"action": "approve_requests", "_selected_action": [ask(acme).pk]}
    response = owner.post("/admin/routing/planrequest/", data, follow=True)
    assert "comes from GATEWAY_CONFIG" in response.content.decode()


def test_limits_periods_states_and_choices_are_in_the_language_of_the_page(acme: Team) -> None:
    Plan.objects.filter(name="free").update(rate="10000/15m", burst=20, concurrency=3)
    acme.create_key("crm")
    german = {
        path: acme.get(path, headers={"Accept-Language": "de"}).content.decode()
        for path in ("plan/", "keys/", "members/", "usage/", "services/crm/")
    }
    for text in ("10.000 Anfragen in 15 Minuten, höchstens 20 auf einmal", "100 Anfragen je Monat", "Dienste: crm"):
        assert text in german["plan/"]
    for text in (">aktiv<", "in 30 Tagen", ">beliebig<", ">nie<"):
        assert text in german["keys/"]
    for text in (">Verwaltung<", ">beigetreten<", "die andere einladen darf"):
        assert text in german["members/"]
    assert "je Monat" in german["usage/"]
    for page in german.values():
        assert not re.search(
            r"\b(per|requests|active|month|joined|never|services:)\b", re.sub(r"<[^>]*>|/portal/", " ", page)
        )
    Plan.objects.filter(name="free").update(rate="often")
    assert "often" in acme.text("plan/")
