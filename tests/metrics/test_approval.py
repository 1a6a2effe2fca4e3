"""Approval: with CONFIG_APPROVAL, a change of the configuration waits for another person at every door."""

import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from metrics.models import Operation
from routing.authentication.key_form import parse_prefix
from routing.database import proposals
from routing.database.actor import command_user
from routing.database.api_keys import find, issue
from routing.database.apply import apply_document
from routing.database.changes import current_version
from routing.database.loader import raw_document
from routing.management.approval import PROPOSED
from routing.models import (
    ApiKey,
    ConfigurationProposal,
    ConfigurationRevision,
    Consumer,
    Plan,
    PlanRequest,
    Revocation,
    Route,
    Service,
    SigningKey,
    Team,
)
from tests.metrics.harness import Harness, ok
from tests.routing.pages import browser_form
from tests.routing.test_admin import both, errors

pytestmark = pytest.mark.django_db(transaction=True)

PROPOSALS = "/admin/routing/configurationproposal/"
SERVICE = "/admin/routing/service/{}/change/"


@pytest.fixture(autouse=True)
def approval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CONFIG", msgspec.structs.replace(settings.CONFIG, approval=True))


@pytest.fixture
def crm(harness: Harness) -> Service:
    harness.serve(ok())
    item = {
        "targets": [{"url": "http://127.0.0.1:9"}],
        "headers": {"Authorization": "Bearer hunter2"},
        "routes": [{"path": "/a"}, {"path": "/b"}],
    }
    apply_document({"version": 1, "services": {"crm": item, "mail": {"targets": [{"url": "http://mail"}]}}})
    return Service.objects.get(name="crm")


def client_of(name: str, group: str = "Owner") -> Client:
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=group)[0])
    client = Client()
    client.force_login(user)
    return client


def propose(client: Client, crm: Service, **posted: Any) -> ConfigurationProposal:
    url = SERVICE.format(crm.pk)
    response = client.post(url, browser_form(client.get(url)) | (posted or both("cache__ttl", "10", "m")))
    proposal = ConfigurationProposal.objects.latest("pk")
    assert response.headers["Location"] == f"{PROPOSALS}{proposal.pk}/change/"
    return proposal


def text_of(client: Client, proposal: ConfigurationProposal) -> str:
    return errors(client.get(f"{PROPOSALS}{proposal.pk}/change/").content.decode())


def test_a_change_waits_until_another_owner_agrees(crm: Service) -> None:
    ada, bob = client_of("ada"), client_of("bob")
    before, version, revisions = raw_document(), current_version(), ConfigurationRevision.objects.count()
    proposal = propose(ada, crm, **both("cache__ttl", "10", "m"), _comment="slower backend")
    assert raw_document() == before
    assert (current_version(), ConfigurationRevision.objects.count()) == (version, revisions)
    page = text_of(ada, proposal)
    assert "crm: cache {ttl: 10m}" in page
    assert "Approve" not in page
    assert "was changed successfully" not in errors(ada.get(PROPOSALS).content.decode())
    assert "Approve and make the change" in text_of(bob, proposal)
    bob.post(f"{PROPOSALS}{proposal.pk}/approve/")
    assert raw_document()["services"]["crm"]["cache"] == {"ttl": "10m"}
    assert raw_document()["services"]["crm"]["headers"] == {"Authorization": "Bearer hunter2"}
    revision = ConfigurationRevision.objects.latest("pk")
    assert (revision.actor, revision.comment) == ("staff:bob", "slower backend")
    assert revision.summary == f"changed crm (proposal {proposal.pk} of staff:ada)"
    recorded = Operation.objects.filter(action__startswith="configuration.").values_list("action", "actor")
    assert [*recorded.order_by("pk")] == [
        ("configuration.propose", "staff:ada"),
        ("configuration.approve", "staff:bob"),
    ]
    bob.post(f"{PROPOSALS}{proposal.pk}/approve/")
    assert "is approved already" in text_of(bob, proposal)


def test_nobody_approves_their_own_change(crm: Service) -> None:
    ada = client_of("ada")
    proposal = propose(ada, crm)
    before = raw_document()
    assert "Nobody approves their own change" in errors(
        ada.post(f"{PROPOSALS}{proposal.pk}/approve/", follow=True).content.decode()
    )
    User.objects.filter(username="ada").update(username="ada2")
    ada.post(f"{PROPOSALS}{proposal.pk}/approve/")
    for group in ("Viewer", "Operator"):
        assert client_of(group, group).post(f"{PROPOSALS}{proposal.pk}/approve/").status_code == 403
        assert client_of(group, group).post(f"{PROPOSALS}{proposal.pk}/reject/").status_code == 403
    assert client_of("bob").get(f"{PROPOSALS}{proposal.pk}/approve/").status_code == 403
    assert raw_document() == before


def test_a_key_is_its_makers_and_its_owners_own(crm: Service) -> None:
    ApiKey.objects.create(name="ci", prefix="abcdefgh", digest="d", created_by="staff:ada", owner="bob")
    found = proposals.identities("key:abcdefgh")
    proposal = ConfigurationProposal(identities=found)
    own = {name: User(username=name) for name in ("ada", "bob", "eve")}
    assert [proposals.is_own(proposal, user, f"staff:{name}") for name, user in own.items()] == [True, True, False]


def test_a_base_that_moved_is_a_conflict_that_names_it(crm: Service) -> None:
    ada, bob = client_of("ada"), client_of("bob")
    proposal, other = propose(ada, crm), propose(ada, Service.objects.get(name="mail"))
    crm.refresh_from_db()
    crm.rate_limit = "5/m"
    crm.save()
    before = raw_document()
    page = errors(bob.post(f"{PROPOSALS}{proposal.pk}/approve/", follow=True).content.decode())
    assert "Conflict: crm changed since this was proposed. Propose the change again." in page
    assert raw_document() == before
    bob.post(f"{PROPOSALS}{other.pk}/approve/")
    assert raw_document()["services"]["mail"]["cache"] == {"ttl": "10m"}


@pytest.mark.parametrize(("who", "state"), [("bob", "rejected"), ("ada", "withdrawn")])
def test_a_proposal_is_rejected_or_withdrawn(crm: Service, who: str, state: str) -> None:
    proposal = propose(client_of("ada"), crm)
    before = raw_document()
    client_of(who).post(f"{PROPOSALS}{proposal.pk}/reject/", {"reason": "not now"})
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by, proposal.reason, proposal.secrets) == (
        state,
        f"staff:{who}",
        "not now",
        None,
    )
    client_of("bob").post(f"{PROPOSALS}{proposal.pk}/approve/")
    assert raw_document() == before


def test_every_page_of_the_admin_proposes(crm: Service) -> None:
    ada, before = client_of("ada"), raw_document()
    first, second = Route.objects.order_by("position")
    latest = ConfigurationRevision.objects.latest("pk")
    moved = ada.post(f"/admin/routing/route/{second.pk}/move/", {"before": first.pk}).json()
    assert moved["location"].startswith(PROPOSALS)
    posts: list[tuple[str, dict[str, Any]]] = [
        ("/admin/routing/route/", {"action": "disable", "_selected_action": [first.pk]}),
        ("/admin/routing/service/", {"action": "disable", "_selected_action": [crm.pk]}),
        (f"/admin/routing/service/{crm.pk}/delete/", {"post": "yes"}),
        ("/admin/routing/target/", {"action": "mark_down", "_selected_action": [crm.targets.get().pk]}),
        (f"/admin/routing/configurationrevision/{latest.pk}/undo/", {}),
        ("/admin/routing/plan/add/", {"name": "free"}),
    ]
    for path, data in posts:
        assert ada.post(path, data).headers["Location"].startswith(PROPOSALS), path
    assert raw_document() == before
    assert ConfigurationProposal.objects.filter(state="waiting").count() == len(posts) + 1
    deleted = ConfigurationProposal.objects.get(summary="removed crm")
    client_of("bob").post(f"{PROPOSALS}{deleted.pk}/approve/")
    assert [*raw_document()["services"]] == ["mail"]


def test_what_does_not_change_the_configuration_is_done(crm: Service) -> None:
    ada = client_of("ada")
    url = SERVICE.format(crm.pk)
    assert ada.post(url, browser_form(ada.get(url))).headers["Location"] == "/admin/routing/service/"
    preview = ada.post(url, browser_form(ada.get(url)) | both("cache__ttl", "10", "m") | {"_preview": "1"}).json()
    assert preview["save"] == "Ask for approval"
    assert not ConfigurationProposal.objects.exists()


def test_the_number_of_waiting_proposals_is_bounded(crm: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MAX_WAITING", 1)
    ada = client_of("ada")
    propose(ada, crm)
    url = SERVICE.format(crm.pk)
    page = ada.post(url, browser_form(ada.get(url)) | both("cache__ttl", "9", "m"), follow=True).content.decode()
    assert "1 changes wait for approval already" in errors(page)
    assert ConfigurationProposal.objects.count() == 1


def test_the_api_proposes_and_tells_what_becomes_of_it(crm: Service, harness: Harness) -> None:
    api = Client(headers={"X-API-Key": harness.keys["config"]})
    before = raw_document()
    body = {"cache": {"ttl": "10m"}, "headers": {"Authorization": "Bearer hunter3"}}
    path = "/api/config/services/crm?allow_literal_secrets=1"
    response = api.patch(path, body, content_type="application/merge-patch+json")
    assert response.status_code == 202, response.content
    assert "hunter" not in response.content.decode()
    proposal = ConfigurationProposal.objects.get()
    assert response.headers["Location"] == f"/api/config/proposals/{proposal.pk}"
    found = api.get(response.headers["Location"]).json()
    assert (found["state"], found["changed"]["crm"][0]["new"]) == ("waiting", found["changed"]["crm"][0]["new"])
    assert api.get("/api/config/proposals").json()["proposals"][0]["id"] == proposal.pk
    assert raw_document() == before
    dry = api.patch(
        "/api/config/services/crm?dry_run=1", {"cache": {"ttl": 1}}, content_type="application/merge-patch+json"
    )
    assert dry.status_code == 200
    client_of("bob").post(f"{PROPOSALS}{proposal.pk}/approve/")
    crm_settings = raw_document()["services"]["crm"]
    assert (crm_settings["cache"], crm_settings["headers"]["Authorization"]) == ({"ttl": "10m"}, "Bearer hunter3")
    assert "hunter3" not in str(ConfigurationProposal.objects.values())


def test_without_the_setting_a_change_is_made_at_once(crm: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CONFIG", msgspec.structs.replace(settings.CONFIG, approval=False))
    ada, url = client_of("ada"), SERVICE.format(crm.pk)
    ada.post(url, browser_form(ada.get(url)) | both("cache__ttl", "10", "m"))
    assert raw_document()["services"]["crm"]["cache"] == {"ttl": "10m"}
    assert not ConfigurationProposal.objects.exists()


CONSUMER = "/admin/routing/consumer/{}/change/"
KEY = "/admin/routing/apikey/{}/change/"
NO_IDENTITIES = {"identities-TOTAL_FORMS": 0, "identities-INITIAL_FORMS": 0}


def latest() -> ConfigurationProposal:
    return ConfigurationProposal.objects.latest("pk")


def approve(name: str = "bob") -> str:
    page = client_of(name).post(f"{PROPOSALS}{latest().pk}/approve/", follow=True)
    return errors(page.content.decode())


def secret_of(page: str) -> str:
    found = re.search(r"gw_[a-z]*_?[a-z2-7]{8}_\w+", page)
    assert found is not None
    return found[0]


def test_a_new_api_key_is_shown_once_and_valid_once_it_is_approved(crm: Service) -> None:
    ada = client_of("ada")
    fields = browser_form(ada.get("/admin/routing/apikey/add/")) | {
        "name": "reports",
        "scopes": ["crm"],
        "owner": "data",
    }
    page = ada.post("/admin/routing/apikey/add/", fields, follow=True).content.decode()
    secret, proposal = secret_of(page), latest()
    assert find(secret) is None
    assert proposal.summary == f"added key {parse_prefix(secret)}"
    assert "Nothing has changed yet" in errors(page)
    shown = text_of(client_of("bob"), proposal)
    assert "reports" in shown
    assert secret not in shown
    assert ApiKey.objects.count() == ApiKey.objects.exclude(name="reports").count()
    assert "is approved, and in force" in approve()
    found = find(secret)
    assert found is not None
    assert (found.reason, found.row.scopes, found.row.owner, found.row.created_by) == ("", ["crm"], "data", "staff:ada")


def test_what_a_key_may_do_waits_and_what_takes_away_does_not(crm: Service) -> None:
    key = ApiKey(name="ci", scopes=["crm"])
    secret = issue(key)
    ada, url = client_of("ada"), KEY.format(key.pk)
    ada.post(url, browser_form(ada.get(url)) | {"scopes": "mail"})
    assert ApiKey.objects.get(pk=key.pk).scopes == ["crm"]
    assert latest().differences["changed"].keys() == {f"key {key.prefix}"}
    rotated = ada.post("/admin/routing/apikey/", {"action": "rotate_keys", "_selected_action": [key.pk]}, follow=True)
    found = find(secret_of(rotated.content.decode()))  # a leaked secret must not wait
    assert found is not None
    assert not found.reason
    assert "in force" in approve()
    assert ApiKey.objects.get(pk=key.pk).scopes == ["mail"]
    assert not find(secret_of(rotated.content.decode())).reason  # type: ignore[union-attr]
    ada.post("/admin/routing/apikey/", {"action": "revoke_keys", "_selected_action": [key.pk]})
    assert find(secret).reason == "revoked"  # type: ignore[union-attr]
    assert ConfigurationProposal.objects.count() == 1


def test_a_key_that_changed_meanwhile_is_a_conflict(crm: Service) -> None:
    key = ApiKey(name="ci", scopes=["crm"])
    issue(key)
    ada, url = client_of("ada"), KEY.format(key.pk)
    ada.post(url, browser_form(ada.get(url)) | {"scopes": ["mail"]})
    ApiKey.objects.filter(pk=key.pk).update(scopes=["*"])
    assert f"Conflict: key {key.prefix} changed since this was proposed" in approve()
    assert ApiKey.objects.get(pk=key.pk).scopes == ["*"]


def test_teams_and_consumers_wait_and_a_consumer_is_disabled_at_once(crm: Service) -> None:
    apply_document({"version": 1, "services": {}, "consumers": {"acme": {}}}, delete=())
    acme = Consumer.objects.get(name="acme")
    ada, url = client_of("ada"), CONSUMER.format(acme.pk)
    ada.post("/admin/routing/team/add/", {"name": "sales"} | NO_IDENTITIES)
    assert not Team.objects.exists()
    assert "in force" in approve()
    ada.post(url, browser_form(ada.get(url)) | {"team": Team.objects.get().pk})
    acme.refresh_from_db()
    assert acme.team is None
    assert latest().summary == "changed consumer acme"
    assert "in force" in approve()
    acme.refresh_from_db()
    assert str(acme.team) == "sales"
    number = ConfigurationProposal.objects.count()
    form = browser_form(ada.get(url))
    form.pop("enabled")
    ada.post(url, form)
    acme.refresh_from_db()
    assert (acme.enabled, ConfigurationProposal.objects.count()) == (False, number)
    page = ada.post(url, browser_form(ada.get(url)) | {"name": "renamed"}, follow=True).content.decode()
    assert "cannot be renamed" in errors(page)
    assert Consumer.objects.get().name == "acme"


def test_a_signing_key_waits_and_is_revoked_at_once(crm: Service) -> None:
    apply_document({"version": 1, "services": {}, "consumers": {"acme": {}}}, delete=())
    ada = client_of("ada")
    form = {"keyid": "acme-1", "consumer": Consumer.objects.get().pk, "algorithm": "hmac-sha256", "scopes": "[]"}
    page = ada.post(
        "/admin/routing/signingkey/add/", browser_form(ada.get("/admin/routing/signingkey/add/")) | form, follow=True
    )
    assert "shown only this once" in errors(page.content.decode())
    assert not SigningKey.objects.exists()
    assert "in force" in approve()
    key = SigningKey.objects.get()
    assert (key.keyid, key.consumer.name, bool(key.secret)) == ("acme-1", "acme", True)
    ada.post("/admin/routing/signingkey/", {"action": "revoke_keys", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.valid_until is not None


def test_a_plan_that_a_member_has_asked_for_needs_no_third_person(crm: Service) -> None:
    document = {"version": 1, "services": {}, "plans": {"pro": {}}, "consumers": {"acme": {}}}
    apply_document(document, delete=())
    fields = {"consumer": Consumer.objects.get(), "plan": Plan.objects.get(), "requested_by": "member:m@x"}
    row = PlanRequest.objects.create(**fields)
    client_of("ada").post("/admin/routing/planrequest/", {"action": "approve_requests", "_selected_action": [row.pk]})
    assert str(Consumer.objects.get().plan) == "pro"
    assert not ConfigurationProposal.objects.exists()


def test_commands_propose_and_have_a_way_out_that_is_on_record(crm: Service, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\nservices:\n  new: {targets: [{url: 'http://127.0.0.1:9'}]}\n")
    apply = ("config", "apply", str(file), "--only", "new")
    commands: list[tuple[str, ...]] = [
        apply,
        ("apikey", "create", "ci", "--scope", "crm"),
        ("connect", "github", "--no-input", "--skip-check", "--set", "secret=env:GATEWAY_SECRET_X"),
        ("config", "rollback", str(ConfigurationRevision.objects.earliest("pk").pk)),
    ]
    crm.rate_limit = "5/m"
    crm.save()
    before, keys = raw_document(), ApiKey.objects.count()
    for number, command in enumerate(commands, 1):
        with pytest.raises(CommandError, match=r"nothing has changed yet: .* proposal") as caught:
            call_command(*command, stdout=StringIO())
        assert (caught.value.returncode, ConfigurationProposal.objects.count()) == (PROPOSED, number), command
    assert (raw_document(), ApiKey.objects.count()) == (before, keys)
    recorded = Operation.objects.filter(action="configuration.propose")
    assert recorded.count() == len(commands)
    with pytest.raises(CommandError, match="needs a reason"):
        call_command(*apply, "--emergency", " ", stdout=StringIO())
    call_command(*apply, "--emergency", "bob is away", stdout=StringIO())
    assert "new" in raw_document()["services"]
    assert ConfigurationRevision.objects.latest("pk").comment == "emergency: bob is away"
    entry = Operation.objects.get(action="configuration.emergency")
    assert entry.after == {"command": f"config apply {file}", "reason": "bob is away"}


def test_a_key_made_by_a_command_is_printed_and_approved_by_somebody_else(crm: Service) -> None:
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("apikey", "create", "ci", "--scope", "crm", stdout=out)
    user = command_user().removeprefix("command:")
    assert "Nobody approves their own change" in approve(user)
    assert "in force" in approve()
    assert find(out.getvalue().split()[-1]) is not None
    key = ApiKey.objects.get(name="ci")
    call_command("apikey", "rotate", key.prefix, "--grace", "0", "--expires", "1d", stdout=StringIO())
    assert not ConfigurationProposal.objects.filter(state="waiting").exists()
    with pytest.raises(CommandError, match="a key is rotated at once"):
        call_command("apikey", "rotate", key.prefix, "--expires", "90d", stdout=StringIO())
    call_command("apikey", "revoke", key.prefix, stdout=StringIO())


def test_the_api_proposes_the_whole_document_and_says_why_a_change_cannot_wait(
    crm: Service, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Client(headers={"X-API-Key": harness.keys["config"]})
    found = api.get("/api/config").json() | {"consumers": {"acme": {}}}
    response = api.put("/api/config", found, content_type="application/json", headers={"If-Match": "*"})
    assert response.status_code == 202, response.content
    assert (latest().summary, Consumer.objects.count()) == ("added consumer acme", 0)
    monkeypatch.setattr(proposals, "MAX_WAITING", 1)
    response = api.put("/api/config", found, content_type="application/json", headers={"If-Match": "*"})
    assert (response.status_code, response.json()["code"]) == (409, "too_many_proposals")


REVOCATIONS = "/admin/routing/revocation/"


def revoked(actor: str, subject: str = "eve", *, days: int = 1) -> Revocation:
    until = timezone.now() + timedelta(days=days)
    return Revocation.objects.create(subject=subject, reason="lost laptop", actor=actor, until=until)


def delete(client: Client, *rows: Revocation) -> None:
    chosen = [row.pk for row in rows]
    client.post(REVOCATIONS, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})


def test_a_revocation_is_lifted_by_two_people(crm: Service) -> None:
    ada, row = client_of("ada", "Operator"), revoked("staff:olga")
    ada.post(f"{REVOCATIONS}{row.pk}/delete/", {"post": "yes"})
    assert Revocation.objects.filter(pk=row.pk).exists()
    assert latest().summary == f"removed revocation {row.pk}"
    page = text_of(client_of("bob"), latest())
    assert all(word in page for word in ("eve", "lost laptop", "staff:olga")), page
    approve()
    assert not Revocation.objects.exists()
    assert latest().state == "approved"


def test_who_has_revoked_takes_that_back_alone(crm: Service) -> None:
    ada, own, other = client_of("ada", "Operator"), revoked("staff:ada"), revoked("staff:olga", "mallory")
    revoked("staff:olga", "gone", days=-1)
    ada.post(f"{REVOCATIONS}add/", {"subject": "new"})  # deletes what has expired, which needs nobody
    assert sorted(Revocation.objects.values_list("subject", flat=True)) == ["eve", "mallory", "new"]
    assert not ConfigurationProposal.objects.exists()
    delete(ada, own, other)
    assert sorted(latest().parts) == [f"revocation {own.pk}", f"revocation {other.pk}"]
    assert Revocation.objects.count() == 3
    delete(ada, own)
    assert not Revocation.objects.filter(pk=own.pk).exists()


def test_a_revocation_that_ended_meanwhile_is_a_conflict(crm: Service) -> None:
    row = revoked("staff:olga")
    delete(client_of("ada", "Operator"), row)
    Revocation.objects.filter(pk=row.pk).update(until=timezone.now())
    assert f"Conflict: revocation {row.pk} changed since" in approve()


def test_the_api_proposes_to_lift_a_revocation(crm: Service, harness: Harness) -> None:
    row, api = revoked("staff:olga"), Client(headers={"X-API-Key": harness.keys["write"]})
    response = api.delete(f"/api/revocations/{row.pk}")
    assert (response.status_code, response.headers["Location"]) == (202, f"/api/config/proposals/{latest().pk}")
    assert Revocation.objects.exists()
    own = api.post("/api/revocations", {"subject": "bob"}, content_type="application/json").json()
    assert api.delete(f"/api/revocations/{own['id']}").json() == {"id": own["id"]}
    assert api.delete("/api/revocations/999").status_code == 200
    late = {"subject": "bob", "until": "2001-01-01T00:00:00Z"}
    assert api.post("/api/revocations", late, content_type="application/json").status_code == 400
