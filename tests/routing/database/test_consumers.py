"""Plans, teams and consumers in the database: the file and the rows are the same."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.database import revisions
from routing.database.api_keys import issue, rotate
from routing.database.apply import absent_names, apply_document
from routing.database.loader import raw_document, whole_document
from routing.database.startup_file import apply_startup_file
from routing.models import ApiKey, ConfigurationRevision, Consumer, ConsumerIdentity, Plan, Team
from tests.routing.configuration.test_consumers import FILE

pytestmark = pytest.mark.django_db(transaction=True)


def structure() -> Any:
    return parse(FILE).structure


def test_export_then_apply_changes_nothing() -> None:
    created = apply_document(structure())
    assert {"plan free", "team acme", "consumer 4711", "consumer alice@example.com"} <= set(created.created)
    exported = whole_document()
    assert dump(exported) == dump(structure())
    assert not apply_document(parse(dump(exported)).structure)


def test_a_file_without_consumers_leaves_them_and_one_with_them_is_complete() -> None:
    apply_document(structure())
    document = structure()
    del document["consumers"], document["teams"]
    assert absent_names(document) == ()
    assert not apply_document(document, delete=absent_names(document))
    assert Consumer.objects.count() == 2
    document = structure()
    del document["consumers"]["4711"]
    assert absent_names(document) == ("consumer 4711",)
    assert apply_document(document, delete=absent_names(document)).deleted == ("consumer 4711",)


def test_a_plan_in_use_is_not_deleted() -> None:
    apply_document(structure())
    document = structure()
    del document["plans"], document["consumers"], document["teams"]
    with pytest.raises(ConfigurationError, match=r"plans.free: cannot be deleted: (team|consumer) .* uses it"):
        apply_document(document, delete=absent_names(document))
    assert Plan.objects.count() == 1


def test_the_identity_of_another_consumer_is_refused() -> None:
    apply_document(structure())
    document = structure()
    document["consumers"] = {"bob": {"identities": [{"issuer": "https://id.example.com", "subject": "a1"}]}}
    with pytest.raises(ConfigurationError, match="already an identity of alice"):
        apply_document(document, delete=())


def test_the_history_contains_plans_and_not_consumers() -> None:
    apply_document(structure())
    assert set(raw_document()) == {"version", "services", "plans"}
    latest = ConfigurationRevision.objects.first()
    assert latest is not None
    assert "plan free" in latest.summary
    assert "alice" not in latest.document
    document = structure()
    document["plans"]["free"]["rate"] = "90/m"
    apply_document(document)
    revisions.rollback(latest, "staff:a")
    assert Plan.objects.get().rate == "60/m"
    assert Consumer.objects.count() == 2


def test_the_startup_file_deletes_what_it_created(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    apply_startup_file(path)
    Consumer.objects.create(name="by-hand")
    text = FILE.replace("  4711: {plan: free}\n", "")
    path.write_text(text)
    assert apply_startup_file(path).deleted == ("consumer 4711",)
    assert sorted(Consumer.objects.values_list("name", flat=True)) == ["alice@example.com", "by-hand"]


def test_commands_show_and_apply_single_plans(tmp_path: Path) -> None:
    apply_document(structure())
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE.replace("60/m", "70/m").replace("4711: {plan: free}", "4711: {plan: free, rate: 5/m}"))
    call_command("config", "validate", str(path), stdout=StringIO())
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("config", "diff", str(path), stdout=out)
    assert "+    rate: 70/m" in out.getvalue()
    out = StringIO()
    call_command("config", "apply", str(path), "--only", "plan free", stdout=out)
    assert "updated plan free" in out.getvalue()
    assert Consumer.objects.get(name="4711").rate == ""
    with pytest.raises(CommandError, match="does not contain plan gold"):
        call_command("config", "apply", str(path), "--only", "plan gold")


def test_a_diff_ignores_consumers_that_the_file_does_not_mention(tmp_path: Path) -> None:
    apply_document(structure())
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE[: FILE.index("teams:")])
    out = StringIO()
    call_command("config", "diff", str(path), stdout=out)
    assert "no differences" in out.getvalue()


def test_secrets_of_keys_are_never_exported() -> None:
    apply_document(structure())
    alice = Consumer.objects.get(name="alice@example.com")
    key = ApiKey(name="app", scopes=["*"], consumer=alice, limits={"rate": "5/s"})
    secret = issue(key)
    text = dump(whole_document())
    assert secret not in text
    assert key.digest not in text
    assert key.prefix not in text
    alice.delete()
    assert not ApiKey.objects.exists()


def test_models_refuse_what_the_file_refuses() -> None:
    for row in (
        Plan(name="free", rate="fast"),
        Plan(name="free", quota=[{"amount": 1, "per": "never"}]),
        Team(name="a b"),
        Consumer(name="c", burst=5),
        ApiKey(name="k", limits={"rate": "never"}),
    ):
        with pytest.raises(ValidationError):
            row.full_clean(exclude=["prefix", "digest"])
    consumer = Consumer.objects.create(name="c")
    with pytest.raises(ValidationError):
        ConsumerIdentity(consumer=consumer, issuer="https://id.example.com").full_clean()


def test_a_consumer_is_deleted_with_its_keys_and_their_replaced_secrets() -> None:
    key = ApiKey(name="app", consumer=Consumer.objects.create(name="c"))
    issue(key)
    rotate(key, timedelta(hours=1))
    Consumer.objects.get(name="c").delete()
    assert not ApiKey.objects.exists()
