"""`manage.py config import`: routes of an OpenAPI document, and what hands have set."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from metrics.models import Operation
from routing.database.loader import load
from routing.database.openapi import openapi_of
from routing.models import ConfigurationRevision, Route, Service, ServiceDocument
from tests.routing.openapi.documents import as_json, as_yaml, large, small

pytestmark = pytest.mark.django_db


@pytest.fixture
def service() -> Service:
    made = Service.objects.create(name="crm")
    made.targets.create(url="http://127.0.0.1:9")
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "openapi.json"


def run(file: Path, *options: str, status: int = 0) -> str:
    out = io.StringIO()
    expected = pytest.raises(SystemExit) if status else contextlib.nullcontext()
    with expected as exit_:
        call_command("config", "import", str(file), "--service", "crm", *options, stdout=out)
    assert exit_ is None or exit_.value.code == status
    return out.getvalue()


def fault(file: Path, *options: str) -> str:
    with pytest.raises(CommandError) as error:
        call_command("config", "import", str(file), "--service", "crm", *options)
    assert error.value.returncode == 2
    return str(error.value)


def routes(service: Service) -> list[tuple[str, list[str]]]:
    return [(row.path, row.methods) for row in service.routes.all()]


def test_a_document_makes_routes_and_is_stored(service: Service, file: Path) -> None:
    file.write_bytes(as_yaml(small("GET,POST /contacts", "/contacts/{contact-id}")))
    lines = run(file).splitlines()
    assert lines == [
        "added GET, POST /contacts",
        "added GET /contacts/{contact_id}",
        "imported Contacts 1 for crm: 2 routes",
    ]
    assert routes(service) == [("/contacts", ["GET", "POST"]), ("/contacts/{contact_id}", ["GET"])]
    assert openapi_of("crm") == small("GET,POST /contacts", "/contacts/{contact-id}")
    assert openapi_of("other") is None
    assert run(file).splitlines() == ["Contacts 1: nothing to change"]


def test_a_dry_run_says_by_its_exit_status_whether_something_would_change(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("/contacts")))
    assert "added GET /contacts" in run(file, "--dry-run", status=1)
    assert routes(service) == []
    assert not ServiceDocument.objects.exists()
    assert not ConfigurationRevision.objects.exists()
    run(file)
    assert "nothing to change" in run(file, "--dry-run")


def test_a_second_import_shows_what_changed_and_keeps_what_hands_have_set(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("GET,PUT /a", "/b", "/c", "/d")))
    run(file)
    service.routes.filter(path="/a").update(timeout={"read": "1s"}, cache={"ttl": 9}, scopes=["crm:read"])
    service.routes.filter(path="/c").update(scopes=["admin"])
    service.routes.get(path="/d").delete()
    file.write_bytes(as_json(small("GET,DELETE /a", "/a/{id}", "/d")))
    assert run(file).splitlines() == [
        "added GET /a/{id}",
        "changed /a: GET, PUT -> GET, DELETE",
        "removed GET /b",
        "kept GET /c: no longer in the document, but it has settings; --prune removes it",
        "left out GET /d: it was removed by hand; --restore adds it",
        "imported Contacts 1 for crm: 3 routes",
    ]
    changed = service.routes.get(path="/a")
    assert (changed.timeout, changed.cache, changed.scopes) == ({"read": "1s"}, {"ttl": 9}, ["crm:read"])
    assert routes(service) == [("/a", ["GET", "DELETE"]), ("/c", ["GET"]), ("/a/{id}", ["GET"])]
    run(file, "--prune", "--restore")
    assert routes(service) == [("/a", ["GET", "DELETE"]), ("/a/{id}", ["GET"]), ("/d", ["GET"])]


def test_the_report_as_json(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("/a", servers=[{"url": "https://x.example"}])))
    report = json.loads(run(file, "--json", "--dry-run", "--targets", status=1))
    assert (report["changes"], report["dry_run"], report["target"]) == (True, True, "https://x.example")
    assert report["added"] == [{"path": "/a", "methods": ["GET"]}]
    assert (report["changed"], report["removed"], report["warnings"]) == ([], [], [])


def test_a_service_is_made_of_the_servers_only_on_demand(file: Path) -> None:
    file.write_bytes(as_json(small("/a", servers=[{"url": "https://x.example/v1"}])))
    assert "there is no service 'crm'; with --targets" in fault(file)
    assert "target https://x.example/v1" in run(file, "--targets")
    made = Service.objects.get(name="crm")
    assert ([target.url for target in made.targets.all()], made.auth) == (["https://x.example/v1"], "")
    assert routes(made) == [("/a", ["GET"])]


def test_paths_that_end_with_a_slash_match_with_and_without_it(service: Service, file: Path) -> None:
    """As those of a REST framework."""
    file.write_bytes(as_json(small("/contacts/", "/contacts/{id}/")))
    assert "paths: trailing_slash: same" in run(file)
    table = load(lambda _: None).table
    assert table.match("crm", "GET", b"/contacts/7/").pattern == "/contacts/{id}"
    service.refresh_from_db()
    service.paths = {"trailing_slash": "strict"}
    service.save()
    assert "trailing_slash" not in run(file)
    assert Service.objects.get().paths == {"trailing_slash": "strict"}


def test_a_document_alone_is_stored_without_routes(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("/a")))
    run(file, "--no-routes")
    assert routes(service) == []
    assert openapi_of("crm") == small("/a")
    run(file)
    assert routes(service) == [("/a", ["GET"])]


@pytest.mark.django_db(transaction=True)
def test_an_import_is_in_the_history_and_in_the_audit_log(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("/a")))
    run(file)
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    assert revision.summary == "imported Contacts 1 for crm"
    assert revision.actor.startswith("command:")
    entry = Operation.objects.get(action="openapi.created")
    assert (entry.service, (entry.after or {})["title"]) == ("crm", "Contacts")


def test_nothing_is_imported_of_a_document_with_a_fault(service: Service, file: Path) -> None:
    file.write_bytes(as_json(small("/a", "/b//c")))
    assert "paths./b//c: '' cannot be a segment" in fault(file)
    file.write_bytes(b'{"swagger": "2.0"}')
    assert "Swagger 2.0 is not read" in fault(file)
    assert "No such file" in fault(file.with_name("none.json"))
    assert (routes(service), openapi_of("crm")) == ([], None)


def test_a_large_document_is_imported_and_matched(service: Service, file: Path) -> None:
    file.write_bytes(as_json(large()))
    assert "200 routes" in run(file)
    assert Route.objects.count() == 200
    table = load(lambda _: None).table
    assert table.match("crm", "POST", b"/resource7/search").pattern == "/resource7/search"
    assert table.match("crm", "GET", b"/resource7/abc").pattern == "/resource7/{resource7_id}"
    assert "nothing to change" in run(file)
