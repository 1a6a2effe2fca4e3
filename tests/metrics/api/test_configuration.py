"""`/api/config`: the configuration file over HTTP."""

import json
import time
from typing import Any

import msgspec
import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from metrics.models import Operation
from routing.configuration.document import LIMIT, canonical, dump, parse
from routing.database.apply import apply_document
from routing.models import ANY_SECRET, ConfigurationRevision, Service, Webhook
from tests.metrics.harness import Harness
from tests.staff import member_of

pytestmark = pytest.mark.django_db

CRM = {"targets": [{"url": "http://127.0.0.1:9"}], "timeout": {"read": "10s"}}
MAIL = {"targets": [{"url": "http://127.0.0.1:8"}]}
FILE: dict[str, Any] = {"version": 1, "services": {"crm": CRM, "mail": MAIL}}
JSON, YAML = "application/json", "application/yaml"


class Api:
    """Requests to the configuration API with one of the harness's keys."""

    def __init__(self, harness: Harness, key: str = "config") -> None:
        self._client = Client(headers={"X-API-Key": harness.keys[key]})

    def get(self, path: str = "", **headers: str) -> Any:
        return self._client.get(f"/api/config{path}", headers=headers)

    def send(self, method: str, path: str, body: Any, kind: str = JSON, **headers: str) -> Any:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self._client.generic(method, f"/api/config{path}", content, kind, headers=headers)

    def put(self, body: Any, path: str = "", match: str | None = "*", **headers: str) -> Any:
        more = {} if match is None else {"If-Match": match}
        return self.send("PUT", path, body, headers.pop("kind", JSON), **more, **headers)


@pytest.fixture
def api(harness: Harness) -> Api:
    apply_document(FILE)
    return Api(harness)


def problem(response: Any, status: int, code: str) -> Any:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    assert response.json()["code"] == code
    return response.json()


def exported() -> str:
    import io

    out = io.StringIO()
    call_command("config", "export", stdout=out, stderr=io.StringIO())
    return out.getvalue()


# Representations


def test_the_file_is_what_export_writes(api: Api) -> None:
    response = api.get(Accept=YAML)
    assert (response.status_code, response["Content-Type"], response["Vary"]) == (200, YAML, "Accept")
    assert response.content.decode() == exported()
    assert canonical(api.get().json()) == api.get().json() == parse(exported()).structure


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json, application/yaml", JSON),
        ("application/json;q=0.5, application/yaml", YAML),
        ("application/yaml", YAML),
        ("application/x-yaml", "application/x-yaml"),
        ("text/yaml", "text/yaml; charset=utf-8"),
        ("text/*", "text/yaml; charset=utf-8"),
        ("text/html, */*;q=0.1", JSON),
        ("application/json;q=0, */*", YAML),
    ],
)
def test_accept_selects_json_or_yaml(api: Api, accept: str | None, media: str) -> None:
    response = api.get(**({} if accept is None else {"Accept": accept}))
    assert (response.status_code, response["Content-Type"]) == (200, media)


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/xml", "*/*;q=0", "application/json;q=x"])
def test_other_types_are_not_acceptable_and_nothing_is_changed(api: Api, accept: str) -> None:
    problem(api.get(Accept=accept), 406, "not_acceptable")
    problem(api.put({**FILE, "services": {}}, "?prune=1", Accept=accept), 406, "not_acceptable")
    assert Service.objects.count() == 2


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "a/b+json"])
def test_content_of_other_types_is_not_supported(api: Api, kind: str) -> None:
    problem(api.put(FILE, kind=kind), 415, "unsupported_media_type")
    problem(api.put(FILE, "/services/crm", kind=kind), 415, "unsupported_media_type")
    problem(api.put(FILE, **{"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", [YAML, "text/yaml", "application/x-yaml; charset=utf-8", "APPLICATION/YAML"])
def test_yaml_is_read(api: Api, kind: str) -> None:
    response = api.put("version: 1\nservices:\n  new: {targets: [{url: 'http://a'}]}\n", "?prune=1", kind=kind)
    assert response.status_code == 200
    assert [service.name for service in Service.objects.all()] == ["new"]


# Round trips


@pytest.mark.parametrize("media", [JSON, YAML])
def test_what_was_read_is_written_back_without_a_change(api: Api, media: str) -> None:
    read = api.get(Accept=media)
    written = api.put(read.content, match=read["ETag"], kind=media)
    assert written.json() == {"dry_run": False, "created": {}, "changed": {}, "deleted": {}, "warnings": []}
    assert written["ETag"] == api.get()["ETag"]
    assert not Operation.objects.filter(action="configuration.write").exists()


VALUES: dict[str, Any] = {
    "auth": st.sampled_from(["required", "optional", "none"]),
    "scopes": st.lists(st.sampled_from(["a", "b:c", "on", "1"]), max_size=2, unique=True),
    "rate_limit": st.sampled_from(["10/s", "100/m"]),
    "timeout": st.fixed_dictionaries({}, optional={"read": st.sampled_from(["1s", 2, 2.5]), "total": st.just("30s")}),
    "cache": st.sampled_from([False, {"ttl": 5}, {"ttl": 0, "scope": "shared"}]),
    "headers": st.dictionaries(st.sampled_from(["X-A", "X-B"]), st.sampled_from(["1", "é", "on", "~"]), max_size=2),
    "fallback": st.sampled_from([{"status": 200, "body": {"a": [1, None, "\u2028"]}}, {"status": 503}]),
    "enabled": st.booleans(),
}
SERVICES = st.dictionaries(
    st.sampled_from(["crm", "mail", "on", "no", "e5"]),
    st.fixed_dictionaries(
        {"targets": st.just([{"url": "http://a"}])},
        optional={
            **VALUES,
            "routes": st.lists(
                st.fixed_dictionaries({"path": st.sampled_from(["/a", "/b/{x}", "/*"])}, optional=VALUES),
                max_size=2,
                unique_by=lambda route: route["path"],
            ),
        },
    ),
    max_size=3,
)


@hypothesis_settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(SERVICES, st.sampled_from([JSON, YAML]))
def test_any_configuration_is_what_was_put_and_putting_it_back_is_no_change(
    harness: Harness, services: dict[str, Any], media: str
) -> None:
    from django.core.cache import cache

    cache.clear()  # the limit of writes
    api, document = Api(harness), {"version": 1, "services": services}
    put = api.put(document if media == JSON else dump(document), "?prune=1&allow_literal_secrets=1", kind=media)
    assert put.status_code == 200, put.content
    read = api.get(Accept=media)
    assert parse(read.content).structure == canonical(document)
    assert read.content.decode() == exported() or media == JSON
    back = api.put(read.content, match=read["ETag"], kind=media).json()
    assert (back["created"], back["changed"], back["deleted"]) == ({}, {}, {})


# Preconditions


def test_a_change_must_name_the_version_that_it_changes(api: Api) -> None:
    assert "If-Match" in problem(api.put(FILE, match=None), 428, "precondition_required")["detail"]
    problem(api.put(FILE, match='"0123-json"'), 412, "precondition_failed")
    problem(api.put(FILE, match="nonsense"), 412, "precondition_failed")
    tag = api.get()["ETag"]
    assert "weak tag" in problem(api.put(FILE, match=f"W/{tag}"), 412, "precondition_failed")["detail"]
    assert api.put(FILE, match=f'"other", {tag}').status_code == 200
    assert api.put(FILE, match=api.get(Accept=YAML)["ETag"]).status_code == 200
    assert api.put(FILE, match="*").status_code == 200


def test_of_two_changes_of_one_version_the_second_fails(api: Api) -> None:
    tag = api.get()["ETag"]
    first = {**FILE, "services": {**FILE["services"], "crm": {**CRM, "rate_limit": "5/s"}}}
    assert api.put(first, match=tag).status_code == 200
    problem(api.put(FILE, match=tag), 412, "precondition_failed")
    assert Service.objects.get(name="crm").rate_limit == "5/s"


def test_tags_are_strong_and_those_of_representations_differ(api: Api) -> None:
    tags = {api.get(Accept=media)["ETag"] for media in (JSON, YAML)}
    assert len(tags) == 2
    assert all(tag.startswith('"') for tag in tags)
    Service.objects.filter(name="crm").update(rate_limit="7/s")
    assert api.get()["ETag"] not in tags


@pytest.mark.parametrize("field", ["", ",", "{tag}", "'{tag}'", '"{tag}'])
def test_a_tag_that_has_lost_its_quotes_is_named(api: Api, field: str) -> None:
    """As by a shell: nothing has changed, and to get it again would not help."""
    tag = api.get()["ETag"].strip('"')
    response = api.put(api.get().json(), match=field.format(tag=tag))
    assert response.status_code == 412
    assert response.json()["detail"] == "If-Match has no entity tag: write the ETag with its double quotes"


def test_a_version_that_the_client_has_is_not_sent_again(api: Api) -> None:
    tag = api.get()["ETag"]
    for field in (tag, f"W/{tag}", "*", f'"x", {tag}'):
        response = api.get(**{"If-None-Match": field})
        assert (response.status_code, response.content, response["ETag"]) == (304, b"", tag)
    assert api.get(**{"If-None-Match": '"x"'}).status_code == 200
    assert api.get(**{"If-None-Match": tag, "Accept": YAML}).status_code == 200


def test_if_none_match_creates_only(api: Api) -> None:
    problem(api.put(CRM, "/services/crm", match=None, **{"If-None-Match": "*"}), 412, "precondition_failed")
    assert api.put(CRM, "/services/new", match=None, **{"If-None-Match": "*"}).status_code == 201


# Differences


def test_a_dry_run_reports_what_would_change_and_changes_nothing(api: Api) -> None:
    wanted = {"version": 1, "services": {"crm": {**CRM, "timeout": {"read": "5s"}, "rate_limit": "9/s"}, "new": MAIL}}
    response = api.put(wanted, "?dry_run=1")
    assert response.json() == {
        "dry_run": True,
        "created": {"new": MAIL},
        "changed": {
            "crm": [
                {"pointer": "/services/crm/timeout/read", "old": "10s", "new": "5s"},
                {"pointer": "/services/crm/rate_limit", "old": None, "new": "9/s"},
            ]
        },
        "deleted": {"mail": MAIL},
        "warnings": [],
    }
    assert "ETag" not in response
    assert api.get().json() == canonical(FILE)
    assert not Operation.objects.filter(action="configuration.write").exists()
    assert yaml.safe_load(api.put(wanted, "?dry_run=1", Accept=YAML).content) == response.json()


def test_a_route_that_is_inserted_is_the_only_difference(api: Api) -> None:
    routes = [{"path": f"/r{number}"} for number in range(5)]
    api.put({**CRM, "routes": routes}, "/services/crm")
    more = api.put({**CRM, "routes": [*routes[:2], {"path": "/new"}, *routes[2:]]}, "/services/crm").json()
    assert more["changed"]["crm"] == [{"pointer": "/services/crm/routes/2", "old": None, "new": {"path": "/new"}}]


def test_services_are_deleted_only_with_prune(api: Api) -> None:
    only_crm = {"version": 1, "services": {"crm": CRM}}
    assert "mail" in problem(api.put(only_crm), 409, "would_delete")["detail"]
    assert Service.objects.count() == 2
    assert list(api.put(only_crm, "?prune=1").json()["deleted"]) == ["mail"]
    assert Service.objects.count() == 1


def test_what_may_not_be_meant_is_warned_of(api: Api) -> None:
    (warning,) = api.send("PATCH", "/services/crm", {"auth": "none"}).json()["warnings"]
    assert warning.startswith("services.crm: anyone may call this, and responses are cached")
    assert api.send("PATCH", "/services/mail", {"rate_limit": "5/s"}).json()["warnings"] == []


def test_a_flag_of_the_query_is_checked(api: Api) -> None:
    problem(api.put(FILE, "?dry_run=perhaps"), 400, "bad_request")


# Faults


def test_all_faults_are_reported_with_pointers_and_nothing_is_applied(api: Api) -> None:
    wrong = {"version": 1, "services": {"crm": {**CRM, "auth": "off", "cache": {"tll": 1}}, "a/b": MAIL, "mail": MAIL}}
    found = problem(api.put(wrong), 400, "invalid_request")
    pointers = [error["pointer"] for error in found["errors"]]
    assert pointers == ["/services/crm/auth", "/services/crm/cache/tll", "/services/a~1b"]
    assert "must be required, optional" in found["errors"][0]["detail"]
    assert "(and 2 more)" in found["detail"]
    assert all("line" not in error for error in found["errors"])
    assert api.get().json() == canonical(FILE)


def test_faults_of_yaml_have_lines(api: Api) -> None:
    found = problem(
        api.put("version: 1\nservices:\n  crm:\n    targets: []\n    auth: 5\n", kind=YAML), 400, "invalid_request"
    )
    assert [(error["pointer"], error["line"]) for error in found["errors"]] == [
        ("/services/crm", 3),
        ("/services/crm/auth", 5),
    ]


def test_a_fault_across_services_leaves_all_as_they_were(api: Api) -> None:
    """The first service is valid and would be written before the second."""
    wanted = {
        "version": 1,
        "services": {"crm": {**CRM, "auth": "none"}, "mail": {**MAIL, "fallback": {"service": "nope"}}},
    }
    problem(api.put(wanted), 400, "invalid_request")
    assert Service.objects.get(name="crm").auth == ""


HOSTILE = {
    "aliases": b"a: &a [x, x]\n" + b"".join(b"k%d: &k%d [*a, *a]\n" % (n, n) for n in range(30)),
    "merge bomb": b"a: &a {b: c}\n<<: [" + b"*a, " * 1000 + b"*a]\n",
    "tag": b"version: !!python/object/apply:os.system ['true']\n",
    "binary tag": b"version: !!binary aGk=\n",
    "duplicates": b"version: 1\nservices: {}\nservices: {}\n",
    "deep": b"[" * 100_000,
    "deep mapping": b"".join(b" " * n + b"a:\n" for n in range(200)),
    "nan": b"version: .nan\nservices: {}\n",
    "infinity": b"version: 1\nservices: {a: {targets: [{url: 'http://a'}], fallback: {body: .inf}}}\n",
    "huge integer": b"version: " + b"9" * 100_000,
    "huge hexadecimal": b"version: 0x" + b"f" * 200_000,
    "base 60": b"version: 1" + b":1" * 100_000,
    "control": b"version: 1\x00",
    "not utf-8": b"version: \xff",
    "utf-16": "version: 1".encode("utf-16"),
    "two documents": b"version: 1\n---\nversion: 1\n",
    "empty": b"",
    "scalar": b"hello",
    "list": b"[1]",
    "tab": b"version:\n\t1",
    "nul string": b'version: 1\nservices: {a: {targets: [{url: "http://a\\0"}]}}\n',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_a_fault_in_bounded_time(api: Api, name: str) -> None:
    began = time.process_time()
    found = problem(api.put(HOSTILE[name], kind=YAML), 400, "invalid_request")
    assert time.process_time() - began < 10
    assert found["errors"][0]["detail"]
    assert api.get().json() == canonical(FILE)


@pytest.mark.parametrize(
    "body",
    [
        b'{"version": 1, "version": 1}',
        b'{"version": NaN}',
        b'{"version": -Infinity}',
        b'{"version": 1e999}',
        b'{"version": ' + b"9" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b"[" * 60 + b"]" * 60,
        b'{"version": "\\ud800"}',
        b'{"\\ud800": 1}',
        b"version: 1",
        b"{",
        b"",
        b"\xff",
        b"null",
        b'{"version": 1} x',
    ],
)
def test_hostile_json_is_a_fault(api: Api, body: bytes) -> None:
    assert problem(api.put(body), 400, "invalid_request")["errors"]


def test_the_size_of_a_file_is_limited(api: Api) -> None:
    problem(api.put(b" " * (LIMIT + 1)), 413, "body_too_large")
    assert "JSON may be larger" in problem(api.put(b" " * 300_000, kind=YAML), 413, "body_too_large")["detail"]


# Secrets


def test_secrets_are_masked_and_a_mask_keeps_what_is_stored(api: Api) -> None:
    secret = "Bearer sk-live-abcdefgh"
    literal = {**CRM, "headers": {"Authorization": secret}}
    found = problem(api.put(literal, "/services/crm"), 400, "invalid_request")
    assert found["errors"][0]["pointer"] == "/headers/Authorization"
    assert "a literal secret" in found["errors"][0]["detail"]
    written = api.put(literal, "/services/crm?allow_literal_secrets=1")
    assert secret not in written.content.decode()
    for media in (JSON, YAML):
        read = api.get(Accept=media)
        assert secret not in read.content.decode()
        assert api.put(read.content, match=read["ETag"], kind=media).json()["changed"] == {}
        assert Service.objects.get(name="crm").headers == {"Authorization": secret}
    changed = api.put(
        {**CRM, "headers": {"Authorization": "env:GATEWAY_SECRET_X"}}, "/services/crm?dry_run=1&allow_missing_secrets=1"
    )
    assert secret not in changed.content.decode()
    assert changed.json()["changed"]["crm"][0]["old"].startswith("masked:")
    stolen = api.get("/services/crm").json()
    problem(api.put(stolen, "/services/mail"), 400, "invalid_request")


def test_a_missing_secret_is_a_fault_of_the_service_that_changes(api: Api, settings: Any) -> None:
    settings.CONFIG = msgspec.structs.replace(settings.CONFIG, environment={})
    item = {**CRM, "headers": {"X-Token": "env:GATEWAY_SECRET_NONE"}}
    found = problem(api.put(item, "/services/crm"), 400, "invalid_request")
    assert found["errors"][0]["pointer"] == "/headers/X-Token"
    allowed = api.put(item, "/services/crm?allow_missing_secrets=1").json()
    assert "out of service until" in allowed["warnings"][0]
    read = api.get()
    assert api.put(read.content, match=read["ETag"]).status_code == 200
    assert api.put({**MAIL, "auth": "none"}, "/services/mail").status_code == 200


# Services


def test_a_service_is_created_read_changed_and_deleted(api: Api) -> None:
    created = api.put(MAIL, "/services/new", match=None)
    assert (created.status_code, list(created.json()["created"])) == (201, ["new"])
    read = api.get("/services/new")
    assert (read.json(), read["ETag"]) == (MAIL, created["ETag"])
    assert yaml.safe_load(api.get("/services/new", Accept=YAML).content) == MAIL
    problem(api.put(CRM, "/services/new", match=None), 428, "precondition_required")
    assert api.put(CRM, "/services/new", match=read["ETag"]).status_code == 200
    problem(api.send("DELETE", "/services/new", "", **{"If-Match": read["ETag"]}), 412, "precondition_failed")
    deleted = api.send("DELETE", "/services/new", "")
    assert (deleted.status_code, list(deleted.json()["deleted"])) == (200, ["new"])
    for method in ("GET", "PATCH", "DELETE"):
        problem(api.send(method, "/services/new", {}), 404, "unknown_service")


@pytest.mark.parametrize("kind", [JSON, "application/merge-patch+json", YAML])
def test_a_patch_changes_what_it_names(api: Api, kind: str) -> None:
    patch = {"timeout": {"connect": "1s", "read": None}, "rate_limit": "5/s"}
    changed = api.send("PATCH", "/services/crm", patch, kind)
    assert changed.status_code == 200
    assert api.get("/services/crm").json() == {
        "targets": CRM["targets"],
        "rate_limit": "5/s",
        "timeout": {"connect": "1s"},
    }
    assert api.get("/services/crm")["ETag"] == changed["ETag"]
    problem(api.send("PATCH", "/services/crm", patch, kind, **{"If-Match": '"x"'}), 412, "precondition_failed")


def test_a_patch_replaces_a_list_whatever_was_there(api: Api) -> None:
    for targets in ([{"url": "http://a"}, {"url": "http://b", "weight": 2}], [{"url": "http://c"}]):
        assert api.send("PATCH", "/services/crm", {"targets": targets}).status_code == 200
        assert api.get("/services/crm").json()["targets"] == targets


def test_faults_of_a_service_have_pointers_within_it(api: Api) -> None:
    found = problem(api.put({**CRM, "auth": 1, "routes": [{"path": "x"}]}, "/services/crm"), 400, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == ["/auth", "/routes/0/path"]
    found = problem(api.put("targets: []\nauth: 1\n", "/services/crm", kind=YAML), 400, "invalid_request")
    assert ("/auth", 2) in [(error["pointer"], error["line"]) for error in found["errors"]]
    problem(api.put([1], "/services/crm"), 400, "invalid_request")
    problem(api.send("PATCH", "/services/crm", [1]), 400, "invalid_request")


def test_a_service_that_is_named_elsewhere_is_not_deleted(api: Api) -> None:
    api.put({**MAIL, "fallback": {"service": "crm"}}, "/services/mail")
    Webhook.objects.create(name="slack", settings={"verify": "shared_token", "service": "crm", "secret": "env:A"})
    assert "mail" in problem(api.send("DELETE", "/services/crm", ""), 409, "in_use")["detail"]
    assert Service.objects.filter(name="crm").exists()


# Rights


@pytest.mark.parametrize(
    ("key", "reads", "writes", "dry_runs"),
    [
        ("config", True, True, True),
        ("config-every", True, True, True),
        ("config-read", True, False, True),
        ("config-write", False, True, False),
        ("both", False, False, False),
        ("every", False, False, False),
    ],
)
def test_scopes_of_keys(harness: Harness, key: str, reads: bool, writes: bool, dry_runs: bool) -> None:
    apply_document(FILE)
    api = Api(harness, key)
    assert (api.get().status_code == 200) is reads
    assert (api.put(FILE, "?dry_run=1").status_code == 200) is dry_runs
    assert (api.put(FILE).status_code == 200) is writes
    assert (api.send("PATCH", "/services/crm", {"auth": "none"}).status_code == 200) is writes
    assert (api.send("DELETE", "/services/mail", "").status_code == 200) is writes


def test_a_key_that_may_not_read_is_told_names_only(harness: Harness) -> None:
    apply_document(FILE)
    changed = Api(harness, "config-write").put({"version": 1, "services": {"crm": MAIL, "new": MAIL}}, "?prune=1")
    assert changed.json() == {
        "dry_run": False,
        "created": {"new": None},
        "changed": {"crm": []},
        "deleted": {"mail": None},
        "warnings": [],
    }


def test_a_key_that_may_only_read_cannot_try_secrets(harness: Harness) -> None:
    apply_document({**FILE, "services": {"crm": {**CRM, "headers": {"X-Token": "hunter2"}}}})
    guess = {**CRM, "headers": {"X-Token": "hunter2"}}
    reader = Api(harness, "config-read")
    problem(reader.put(guess, "/services/crm?dry_run=1"), 400, "invalid_request")
    problem(reader.put(guess, "/services/crm?dry_run=1&allow_literal_secrets=1"), 403, "forbidden")


def test_a_key_of_a_service_reads_and_writes_that_alone(harness: Harness) -> None:
    apply_document({**FILE, "plans": {"free": {"rate": "5/m"}}})
    api = Api(harness, "config-crm")
    read = api.get()
    assert read.json() == canonical({"version": 1, "services": {"crm": CRM}})
    assert api.put(read.content, match=read["ETag"]).json()["changed"] == {}
    assert list(api.put({"version": 1, "services": {"crm": MAIL}}).json()["changed"]) == ["crm"]
    for services in ({"crm": CRM, "mail": CRM}, {"crm": CRM, "new": CRM}):
        problem(api.put({"version": 1, "services": services}), 403, "forbidden")
    problem(api.put({"version": 1, "services": {"crm": CRM}, "plans": {}, "issuers": [{}]}), 400, "invalid_request")
    problem(api.put({"version": 1, "services": {"crm": CRM}, "plans": {"free": {"rate": "9/m"}}}), 403, "forbidden")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        content = "" if method == "DELETE" else MAIL
        problem(api.send(method, "/services/mail", content, **{"If-Match": "*"}), 403, "forbidden")
    Service.objects.filter(name="mail").update(rate_limit="1/s")
    assert api.put(MAIL, "/services/crm", match=api.get("/services/crm")["ETag"]).status_code == 200
    assert list(api.put({"version": 1}, "?prune=1").json()["deleted"]) == ["crm"]
    assert Service.objects.filter(name="mail").exists()


def test_a_key_of_a_service_cannot_use_the_secrets_of_others(harness: Harness) -> None:
    """Otherwise it could send them to a target of its own."""
    reference = {"headers": {"Authorization": "env:GATEWAY_SECRET_MAIL"}}
    apply_document({"version": 1, "services": {"crm": {**CRM, "headers": {"X": "env:GATEWAY_SECRET_CRM"}}}})
    api = Api(harness, "config-crm")
    for path in ("/services/crm", "/services/crm?allow_missing_secrets=1"):
        assert "GATEWAY_SECRET_MAIL" in problem(api.put({**CRM, **reference}, path), 403, "forbidden")["detail"]
        problem(api.send("PATCH", path, reference), 403, "forbidden")
    problem(api.put({"version": 1, "services": {"crm": {**CRM, **reference}}}), 403, "forbidden")
    own = {**CRM, "headers": {"Y": "Bearer env:GATEWAY_SECRET_CRM"}}
    assert api.put(own, "/services/crm?allow_missing_secrets=1").status_code == 200


@pytest.mark.parametrize(
    ("group", "reads", "writes"), [("Viewer", True, False), ("Operator", True, False), ("Owner", True, True)]
)
def test_staff_by_session_need_the_right_and_a_csrf_token(
    harness: Harness, group: str, reads: bool, writes: bool
) -> None:
    apply_document(FILE)
    client = member_of(group, enforce_csrf_checks=True)
    assert (client.get("/api/config").status_code == 200) is reads
    body = json.dumps({"auth": "none"})
    problem(client.patch("/api/config/services/crm", body, JSON), 403, "forbidden")
    client.get("/admin/")
    client.cookies["csrftoken"] = "a" * 32
    headers = {"X-CSRFToken": "a" * 32}
    response = client.patch("/api/config/services/crm", body, JSON, headers=headers)
    assert (response.status_code == 200) is writes
    assert (Service.objects.get(name="crm").auth == "none") is writes
    assert client.put(
        "/api/config?dry_run=1", json.dumps(FILE), JSON, headers={**headers, "If-Match": "*"}
    ).status_code == (200 if reads else 403)


# Records


@pytest.mark.django_db(transaction=True)
def test_a_change_is_in_the_history_and_in_the_audit_log_with_its_author(harness: Harness) -> None:
    apply_document(FILE)
    api = Api(harness)
    assert api.send("PATCH", "/services/crm", {"auth": "none"}).status_code == 200
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    assert (revision.actor.startswith("key:"), revision.summary) == (True, "changed crm")
    entry = Operation.objects.get(action="configuration.write")
    assert (entry.actor, entry.after) == (revision.actor, {"created": [], "changed": ["crm"], "deleted": []})
    assert Operation.objects.filter(action="service.changed", actor=revision.actor).count() == 1
    api.send("PATCH", "/services/crm?dry_run=1", {"auth": "optional"})
    assert (ConfigurationRevision.objects.count(), Operation.objects.filter(action="configuration.write").count()) == (
        2,
        1,
    )


@pytest.mark.django_db(transaction=True)
def test_the_history_shows_who_has_changed_what_without_secrets(harness: Harness) -> None:
    apply_document({"version": 1, "services": {"crm": {**CRM, "headers": {"X-Token": "hunter2"}}}})
    api = Api(harness)
    api.send("PATCH", "/services/crm", {"auth": "none"})
    latest, first = api.get("/history").json()["revisions"]
    assert (latest["summary"], first["summary"]) == ("changed crm", "added crm")
    shown = api.get(f"/history/{latest['id']}")
    assert "+    auth: none" in shown.json()["changes"]
    assert parse(shown.json()["document"]).structure == api.get().json()
    assert "hunter2" not in shown.content.decode()
    problem(api.get("/history/999999"), 404, "unknown_document")
    problem(Api(harness, "config-crm").get("/history"), 403, "forbidden")
    problem(Api(harness, "config-write").get("/history"), 403, "forbidden")


def test_a_change_of_what_the_startup_file_owns_is_warned_of(api: Api, settings: Any, tmp_path: Any) -> None:
    settings.CONFIG = msgspec.structs.replace(settings.CONFIG, gateway_config=tmp_path / "gateway.yaml")
    Service.objects.filter(name="crm").update(origin="file")
    changed = api.send("PATCH", "/services/crm", {"rate_limit": "9/s"}).json()
    assert changed["warnings"] == [
        "crm: the file of GATEWAY_CONFIG sets this service again at the next start; change it there"
    ]
    assert api.send("PATCH", "/services/mail", {"auth": "none", "cache": False}).json()["warnings"] == []
    assert api.put({"version": 1, "services": {"mail": MAIL}}, "?prune=1").json()["warnings"] != []


def test_the_whole_document_round_trips(harness: Harness) -> None:
    """The example file, with webhooks, issuers, plans, teams and consumers."""
    from tests.routing.test_commands import EXAMPLE

    apply_document(parse(EXAMPLE.read_bytes()).structure)
    parse(EXAMPLE.read_bytes()).services(ANY_SECRET)
    api = Api(harness)
    for media in (JSON, YAML):
        read = api.get(Accept=media)
        back = api.put(read.content, match=read["ETag"], kind=media)
        assert (back.status_code, back.json()["changed"], back.json()["created"]) == (200, {}, {}), back.content
    assert api.get(Accept=YAML).content.decode() == exported()
