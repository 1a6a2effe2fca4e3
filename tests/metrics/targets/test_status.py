"""The condition of targets in all workers, and where it is shown."""

import pytest
from django.test import Client

from metrics import selectors
from metrics.counting.flusher import WORKERS
from metrics.explain import ExplainRequest, explain
from metrics.incidents.overview import incidents
from metrics.read_models import TargetStatus
from metrics.targets.gauges import MAX_GAUGES, read_gauges, target_gauges
from metrics.targets.status import TargetConditions, count_conditions, without_calls, without_calls_text, words
from routing.balancing.rules import TargetCondition
from routing.models import Service as ServiceRow
from routing.router.policy import Target
from routing.router.table import Service
from tests.metrics.harness import SHARED, Harness

ONE, TWO, OFF = Target("http://one/a|b", canary=5.0), Target("http://two"), Target("http://off", weight=0)
CRM = Service("crm", (ONE, TWO, OFF))
UP = TargetCondition.UP


def gauges(*workers: dict[str, TargetCondition]) -> dict[str, int]:
    total = {WORKERS: len(workers)}
    for conditions in workers:
        for name, number in target_gauges({"crm": conditions}).items():
            total[name] = total.get(name, 0) + number
    return total


def test_all_workers_conditions_are_told_apart() -> None:
    found = TargetConditions(
        gauges({ONE.url: TargetCondition.EJECTED}, {ONE.url: UP, TWO.url: TargetCondition.DOWN}), {}
    ).of(CRM)
    assert found == (
        TargetStatus(url=ONE.url, condition="ejected", workers="1 of 2", canary=5.0),
        TargetStatus(url=TWO.url, condition="down"),
        TargetStatus(url=OFF.url, condition="disabled", weight=0),
    )
    assert [words(each) for each in found] == [("Ejected in 1 of 2 workers", "Canary 5%"), ("Down",), ("Disabled",)]
    assert count_conditions(found) == {"ejected": 1, "down": 1, "disabled": 1, "canary": 1}
    assert without_calls_text(found) == "2 of 3 targets without calls: down, ejected in 1 of 2 workers"
    assert without_calls(found) == {ONE.url: "ejected in 1 of 2 workers", TWO.url: "down"}


def test_the_worst_condition_is_shown_and_a_target_that_is_up_for_all_is_not_reported() -> None:
    both = gauges({ONE.url: TargetCondition.SLOW_START}, {ONE.url: TargetCondition.EJECTED})
    assert TargetConditions(both, {}).of(CRM)[0].condition == "ejected"
    assert gauges({ONE.url: UP, OFF.url: TargetCondition.DISABLED}) == {WORKERS: 1}


def test_a_worker_shows_its_own_if_the_others_cannot_report() -> None:
    assert TargetConditions({}, {"crm": {TWO.url: TargetCondition.EJECTED}}).of(CRM)[1].condition == "ejected"


def test_gauges_are_bounded_and_those_of_others_ignored() -> None:
    many = {f"http://{number}": TargetCondition.DOWN for number in range(MAX_GAUGES + 5)}
    assert len(target_gauges({"crm": many})) == MAX_GAUGES
    assert read_gauges({"calls_in_flight": 3, "target|crm|strange|http://x": 1, "target|crm": 1}) == {}


@pytest.mark.django_db
def test_an_ejected_target_is_shown_wherever_it_stands(harness: Harness, staff_client: Client) -> None:
    targets = (Target("http://one.test"), Target("http://two.test"))
    service = Service("crm", targets, policy=SHARED)
    harness.add(service)
    row = ServiceRow.objects.create(name="crm")
    for target in targets:
        row.targets.create(url=target.url)
    balancer = harness.balancers.of(service)
    state = balancer.pick([])
    while state.target != targets[1]:
        state = balancer.pick([state])
    for _ in range(5):
        balancer.failed(state, "connection refused", no_response=True)
    (seen,) = selectors.service_statuses()
    assert [target.condition for target in seen.targets] == ["up", "ejected"]
    (incident,) = incidents()
    assert incident.signals[0].text == "1 of 2 targets without calls: two.test ejected"
    (found,) = staff_client.get("/dashboard/snapshot.json").json()["services"]
    assert (found["targets"], found["unwell"]) == ([{"url": each.url} for each in targets], {"1": ["ejected", ""]})
    page = staff_client.get("/admin/routing/target/").content.decode()
    assert page.count("Ejected") == 1
    found = staff_client.get("/metrics", headers={"accept": "application/json"}).json()["targets"]["crm"]
    assert [(each["condition"], each["text"]) for each in found] == [("up", "Up"), ("ejected", "Ejected")]
    explained = explain(ExplainRequest("/api/v1/crm/x")).call
    assert explained is not None
    assert [(each["url"], each["share"], each["text"]) for each in explained["targets"]] == [
        (targets[0].url, 0.5, "Up"),
        (targets[1].url, 0.5, "Ejected"),
    ]
    assert 'data-url="http://two.test"' in staff_client.get("/dashboard/services/crm/").content.decode()
