"""Two consumers with members, beside three services and two plans."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # models, which are not loaded when this file is imported
    from tests.metrics.harness import Harness
    from tests.metrics.portal.teams import Team


@pytest.fixture
def world(db: None, harness: "Harness") -> "Harness":
    """With three services, and the plans `free`, of one of them, and `pro`, which is offered."""
    from routing.models import Plan
    from tests.metrics.harness import ok

    for name in ("crm", "mail", "payroll"):
        harness.serve(ok(), name=name)
    Plan.objects.create(name="free", rate="1000/m", services=["crm"], quota=[{"amount": 100, "per": "month"}])
    Plan.objects.create(name="pro", rate="5000/m", services=["crm", {"mail": {"methods": ["GET"]}}], offered=True)
    return harness


@pytest.fixture
def acme(world: "Harness") -> "Team":
    from tests.metrics.portal.teams import make_team

    return make_team(world, "acme", "manager")


@pytest.fixture
def rival(world: "Harness") -> "Team":
    from tests.metrics.portal.teams import make_team

    return make_team(world, "rival", "manager")
