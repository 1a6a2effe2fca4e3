"""The admin's list of targets."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics.models import Operation
from routing.database.loader import current_version
from routing.models import Service, Target
from tests.metrics.harness import Harness
from tests.routing.test_admin import TARGET

pytestmark = pytest.mark.django_db


def test_a_targets_override_is_set_and_recorded_in_the_audit_log(harness: Harness) -> None:
    staff = Client()
    staff.force_login(User.objects.create_superuser("root", password="for tests alone"))
    target = Target.objects.create(service=Service.objects.create(name="crm"), **TARGET)
    target_list = "/admin/routing/target/"
    for action, expected in (
        ("mark_down", {"enabled": False}),
        ("mark_up", {"enabled": True, "always_up": True}),
        ("clear_override", {"enabled": True}),
    ):
        version = current_version()
        response = staff.post(target_list, {"action": action, "_selected_action": [target.pk]}, follow=True)
        assert "1 changed." in response.content.decode()
        target.refresh_from_db()
        assert target.to_document() == {**TARGET, **expected}
        assert current_version() > version
        operation = Operation.objects.order_by("pk").last()
        assert operation is not None
        assert (operation.action, operation.service, operation.after) == ("target.changed", "crm", target.to_document())
        assert operation.actor == "staff:root"
    assert "delete_selected" not in staff.get(target_list).content.decode()
