"""Approval: with CONFIG_APPROVAL, a change of the configuration waits for another person at every door."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client

from metrics.models import Operation
from routing.database import proposals
from routing.database.apply import apply_document
from routing.database.changes import current_version
from routing.database.loader import raw_document
from routing.models import ApiKey, ConfigurationProposal, ConfigurationRevision, Route, Service
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
    ada.post("/admin/routing/team/add/", {"name": "acme", "consumers-TOTAL_FORMS": 0, "consumers-INITIAL_FORMS": 0})
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
