"""A large configuration is applied with few statements, and recorded as if each row had been saved."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metrics.models import Operation
from routing.configuration.faults import ConfigurationError
from routing.database.apply import apply_document
from routing.database.changes import RowKind, changed_since, current_version
from routing.database.loader import raw_document
from routing.database.named_rows import Changes
from routing.models import Route, Service

pytestmark = pytest.mark.django_db
SERVICES, ROUTES = 30, 10


def large(**settings: Any) -> dict[str, Any]:
    routes = [{"path": f"/things/{number}", **settings} for number in range(ROUTES)]
    service = {"targets": [{"url": "http://a"}, {"url": "http://b"}], "routes": routes}
    return {"version": 1, "services": {f"service-{number}": service for number in range(SERVICES)}}


def test_new_rows_take_few_statements_and_one_version() -> None:
    before = current_version()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        changes = apply_document(large())
    assert len(changes.created) == SERVICES
    assert len(queries) < SERVICES + 50  # there are 390 rows and as many entries of the audit log
    assert current_version() == before + 1
    assert changed_since(before, before + 1) == {RowKind.CONFIGURATION: {0}}
    actions = Operation.objects.values_list("action", flat=True)
    assert {action: list(actions).count(action) for action in set(actions)} == {
        "service.created": SERVICES,
        "target.created": 2 * SERVICES,
        "route.created": ROUTES * SERVICES,
    }
    assert set(Operation.objects.values_list("service", flat=True)) == set(changes.created)
    assert raw_document()["services"]["service-7"]["routes"][3]["path"] == "/things/3"


def test_changed_rows_are_recorded_with_what_they_were() -> None:
    apply_document(large(timeout={"read": "2s"}))
    Operation.objects.all().delete()
    before = current_version()
    assert apply_document(large(timeout={"read": "3s"})).updated == tuple(sorted(large()["services"]))
    assert current_version() == before + 1
    ((old, new),) = set(Operation.objects.values_list("before__timeout__read", "after__timeout__read"))
    assert (old, new) == ("2s", "3s")
    assert Operation.objects.count() == SERVICES * ROUTES
    assert apply_document(large(timeout={"read": "3s"})) == Changes()
    assert current_version() == before + 1


def test_a_row_that_is_saved_again_is_compared_with_the_database() -> None:
    apply_document(large())
    apply_document(large(timeout={"read": "3s"}))
    Operation.objects.all().delete()
    route = Route.objects.all()[0]
    route.timeout = {"read": "4s"}
    route.save()
    route.timeout = {"read": "5s"}
    route.save()
    entries = Operation.objects.order_by("pk").values_list("before__timeout__read", flat=True)
    assert list(entries) == ["3s", "4s"]


def test_a_document_with_faults_records_nothing() -> None:
    before = current_version()
    faulty = large() | {"plans": {"free": {"services": ["nobody"]}}}
    with pytest.raises(ConfigurationError):
        apply_document(faulty)
    assert (Service.objects.count(), Operation.objects.count(), current_version()) == (0, 0, before)
