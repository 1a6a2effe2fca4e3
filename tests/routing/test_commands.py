"""The management commands `config` and `apikey`."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from gateway_project.management.commands.alerts import Command as AlertsCommand
from metrics.alerts import operations
from routing.authentication.api_keys import ApiKeys
from routing.database.api_keys import issue
from routing.database.loader import current_version, load
from routing.models import ApiKey, Consumer, Service

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "gateway.example.yaml"
OPEN_UNCACHED = "    auth: none\n    cache: off\n"
CRM = "version: 1\nservices:\n  crm:\n    targets: [{url: 'http://a'}]\n"


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def fault(*arguments: str, status: int = 1) -> list[str]:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    assert error.value.returncode == status
    return str(error.value).splitlines()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CRM)
    return path


def test_validate_reports_a_valid_file_and_changes_nothing(file: Path) -> None:
    out, err = run("config", "validate", str(file))
    assert (out, err) == (f"{file}: valid, 1 service\n", "")
    assert not Service.objects.exists()


def test_validate_prints_each_fault_on_its_own_line(file: Path) -> None:
    file.write_text(CRM + "    cache: {tll: 1}\n    auth: off\n")
    header, *faults = fault("config", "validate", str(file))
    assert header == f"{file}: 2 faults"
    assert faults[0] == "line 5: services.crm.cache: unknown key 'tll' (did you mean 'ttl'?)"
    assert faults[1].startswith("line 6: services.crm.auth: must be required")


def test_validate_warns_about_a_variable_that_is_not_set() -> None:
    out, err = run("config", "validate", str(EXAMPLE))
    assert out.endswith("valid, 1 service\n")
    assert err.splitlines() == [
        "GATEWAY_SECRET_SLACK is not set here; the gateway needs it to load this file",
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("    auth: none\n", 3),
        ("    auth: optional\n", 3),
        (
            f"{OPEN_UNCACHED}    routes:\n    - {{path: /a, auth: required}}\n    - {{path: /b, cache: on}}\n",
            9,
        ),
        (OPEN_UNCACHED, None),
        ("    auth: none\n    cache: {scope: shared}\n", None),
        ("    auth: none\n    cache: {credentials: [X-Auth-Token]}\n", None),
        ("    auth: none\n    cache: {credentials: []}\n", None),
        ("", None),
    ],
)
def test_validate_warns_once_about_credentials_that_the_gateway_cannot_know(
    file: Path, settings: str, line: int | None
) -> None:
    file.write_text(CRM + settings)
    out, err = run("config", "validate", str(file))
    assert out == f"{file}: valid, 1 service\n"
    assert len(err.splitlines()) == (line is not None)
    if line is not None:
        assert err.startswith(f"warning: line {line}: services.crm")
        assert "cache.credentials" in err


def test_validate_warns_about_a_host_that_is_the_gateways_too(file: Path) -> None:
    file.write_text(CRM + "    hosts: [crm.example.com, gw.example.com]\n")
    with override_settings(ALLOWED_HOSTS=["GW.example.com", ".example.com"]):
        _, err = run("config", "validate", str(file))
    assert err.startswith("warning: line 5: services.crm.hosts[1]: 'gw.example.com' is in ALLOWED_HOSTS too")
    assert len(err.splitlines()) == 1


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    assert fault("config", "apply", str(tmp_path / "none.yaml"))[0].endswith("No such file or directory")


def test_apply_reports_its_changes_and_does_nothing_the_second_time(file: Path) -> None:
    assert run("config", "apply", str(file))[0] == f"created crm\napplied {file}: 1 service\n"
    version = current_version()
    assert run("config", "apply", str(file))[0] == "nothing to change\n"
    assert current_version() == version
    file.write_text(CRM.replace("crm", "mail"))
    assert run("config", "apply", "--prune", str(file))[0] == f"created mail\nremoved crm\napplied {file}: 1 service\n"


@pytest.mark.parametrize("text", ["version: 1", CRM.replace("crm", "mail")])
def test_apply_deletes_nothing_unless_it_is_to_prune(file: Path, text: str) -> None:
    run("config", "apply", str(file))
    version = current_version()
    file.write_text(text)
    question, advice = fault("config", "apply", str(file), status=4)
    assert question == f"{file} does not contain what would be deleted: crm"
    assert "--prune" in advice
    assert [service.name for service in Service.objects.all()] == ["crm"]
    assert current_version() == version


@pytest.mark.parametrize(("answer", "names"), [("y", ["mail"]), ("n", ["crm"]), ("", ["crm"])])
def test_apply_asks_at_a_terminal(file: Path, monkeypatch: pytest.MonkeyPatch, answer: str, names: list[str]) -> None:
    run("config", "apply", str(file))
    file.write_text(CRM.replace("crm", "mail"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    with contextlib.nullcontext() if answer == "y" else pytest.raises(CommandError):
        run("config", "apply", str(file))
    assert [service.name for service in Service.objects.all()] == names


def test_apply_of_one_service_leaves_the_others(file: Path) -> None:
    run("config", "apply", str(file))
    file.write_text(CRM.replace("crm", "mail") + "  files:\n    targets: [{url: 'http://b'}]\n")
    assert run("config", "apply", str(file), "--only", "files")[0] == f"created files\napplied {file}: 1 service\n"
    assert [service.name for service in Service.objects.all()] == ["crm", "files"]
    assert fault("config", "apply", str(file), "--only", "calendar") == ["the file does not contain calendar"]


def test_apply_of_a_part_may_not_take_a_host_of_another_service(file: Path) -> None:
    file.write_text(CRM + "    hosts: [one.example]\n")
    run("config", "apply", str(file))
    file.write_text(CRM.replace("crm", "mail") + "    hosts: [One.example]\n")
    assert "already a host of crm" in fault("config", "apply", str(file), "--only", "mail")[1]
    run("config", "apply", str(file), "--prune")


SECRET = "    headers: {Authorization: 'env:GATEWAY_SECRET_FORGOTTEN'}\n"


def test_apply_refuses_a_secret_that_is_missing_here(file: Path) -> None:
    file.write_text(CRM + SECRET)
    header, missing = fault("config", "apply", str(file))
    assert header == f"{file}: 1 fault"
    assert missing.endswith("the environment variable GATEWAY_SECRET_FORGOTTEN is not set")
    assert missing.startswith("line 5: services.crm.headers.Authorization")
    assert not Service.objects.exists()


def test_apply_may_take_a_service_out_and_says_so_in_its_exit_status(file: Path) -> None:
    file.write_text(CRM + SECRET + CRM.partition("services:\n")[2].replace("crm", "mail"))
    for _ in range(2):
        assert fault("config", "apply", str(file), "--allow-missing-secrets", status=3) == ["out of service: crm"]
    assert [name for name, service in load(settings.CONFIG.secret).table.services.items() if service.is_out] == ["crm"]
    file.write_text(CRM + SECRET + "    cost_per_call: x\n")
    assert "cost_per_call" in fault("config", "apply", "--prune", str(file), "--allow-missing-secrets")[2]


def test_apply_of_a_part_needs_no_secret_of_the_rest(file: Path) -> None:
    file.write_text(CRM + SECRET + CRM.partition("services:\n")[2].replace("crm", "mail"))
    run("config", "apply", str(file), "--only", "mail")
    assert [service.name for service in Service.objects.all()] == ["mail"]


def test_apply_of_a_faulty_file_changes_nothing(file: Path) -> None:
    run("config", "apply", str(file))
    file.write_text(CRM.replace("crm", "mail") + "    auth: off\n")
    fault("config", "apply", str(file))
    assert [service.name for service in Service.objects.all()] == ["crm"]


def test_diff_shows_what_apply_would_change_and_exits_with_1(file: Path) -> None:
    run("config", "apply", str(file))
    assert run("config", "diff", str(file))[0] == "no differences\n"
    file.write_text(CRM + "    auth: none\n")
    out = io.StringIO()
    with pytest.raises(SystemExit) as exit_:
        call_command("config", "diff", str(file), stdout=out)
    assert exit_.value.code == 1
    changed = [line for line in out.getvalue().splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["+    auth: none"]


@pytest.fixture
def example_secrets(settings: Any) -> None:
    """The secrets that the example file refers to."""
    settings.CONFIG = msgspec.structs.replace(settings.CONFIG, environment={"GATEWAY_SECRET_SLACK": "t0ken"})


@pytest.mark.usefixtures("example_secrets")
def test_export_then_apply_changes_nothing_and_exports_the_same_text(tmp_path: Path) -> None:
    run("config", "apply", str(EXAMPLE))
    version = current_version()
    exported = tmp_path / "exported.yaml"
    run("config", "export", str(exported))
    assert run("config", "apply", str(exported))[0] == "nothing to change\n"
    assert current_version() == version
    assert run("config", "export")[0] == exported.read_text()


def test_a_new_key_is_printed_alone_on_the_last_line(file: Path) -> None:
    run("config", "apply", str(file))
    out, _ = run(
        "apikey", "create", "ci", "--scope", "crm", "--scope", "metrics:read", "--tenant", "acme", "--expires", "90d"
    )
    key = out.splitlines()[-1]
    (record,) = load(lambda _: None).keys
    assert (record.name, record.tenant) == ("ci", "acme")
    assert record.scopes == frozenset({"crm", "metrics:read"})
    assert record.expires is not None
    caller = ApiKeys([record]).find(key, record.expires - 1)
    assert caller is not None
    assert caller.id == f"key:{record.prefix}"


def test_the_list_shows_the_state_of_each_key_and_no_secret() -> None:
    key = run("apikey", "create", "ci", "--all-services")[0].splitlines()[-1]
    prefix = key.split("_")[1]
    listed = run("apikey", "list")[0]
    assert prefix in listed
    assert "active" in listed
    assert key not in listed
    assert run("apikey", "revoke", prefix)[0] == f"revoked {prefix}\n"
    assert "revoked" in run("apikey", "list")[0]
    assert load(lambda _: None).keys == ()
    assert fault("apikey", "revoke", prefix) == [f"no active key has the prefix {prefix!r}"]


def test_the_list_says_that_the_key_of_a_disabled_consumer_is_refused() -> None:
    acme = Consumer.objects.create(name="acme")
    run("apikey", "create", "ci", "--all-services", "--consumer", "acme")
    assert [key["state"] for key in json.loads(run("apikey", "list", "--json")[0])] == ["active"]
    acme.enabled = False
    acme.save()
    assert [key["state"] for key in json.loads(run("apikey", "list", "--json")[0])] == ["disabled"]
    assert "disabled" in run("apikey", "list")[0]


@pytest.mark.parametrize(
    "arguments",
    [["--expires", "soon"], ["--expires", "0d"], ["--scope", "a b"], ["--owner", "a\nb"], ["--owner", "\x1b[2J"]],
)
def test_a_key_with_invalid_options_is_not_created(arguments: list[str]) -> None:
    fault("apikey", "create", "ci", "--all-services", *arguments)
    assert "ci" not in run("apikey", "list")[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "get"], "methods[0]: methods must be in capitals: GET"),
        (["--allow", "10.0.0.1/8"], "ip: allow[0]: '10.0.0.1/8' has host bits set"),
        (["--owner", "a\nb"], "owner: must have no line breaks and control characters"),
    ],
)
def test_the_fault_of_an_option_names_it(arguments: list[str], expected: str) -> None:
    (text,) = fault("apikey", "create", "ci", "--all-services", *arguments)
    assert text.startswith(expected)


def test_the_list_is_searched_by_all_that_it_shows_of_whose_a_key_is() -> None:
    consumer = Consumer.objects.create(name="Acme Corp")
    for key in (
        ApiKey(name="a", consumer=consumer),
        ApiKey(name="b", owner="ops@example.com"),
        ApiKey(name="c", created_by="command:deploy"),
    ):
        issue(key)
    for search, name in (("acme", "a"), ("OPS@", "b"), ("deploy", "c")):
        (found,) = json.loads(run("apikey", "list", search, "--json")[0])
        assert found["name"] == name


def test_a_key_is_not_created_without_a_word_on_what_it_may_use() -> None:
    (text,) = fault("apikey", "create", "ci")
    assert "--scope" in text
    assert "--all-services" in text
    assert run("apikey", "list")[0] == ""


@pytest.mark.parametrize("scope", ["nope", "CRM", "crm ", "", "metrics:admin", "crm,debug"])
def test_an_unknown_scope_is_refused(file: Path, scope: str) -> None:
    run("config", "apply", str(file))
    (text,) = fault("apikey", "create", "ci", "--scope", "crm", "--scope", scope)
    assert text.startswith(f"unknown scope {scope!r}")
    assert run("apikey", "list")[0] == ""


def test_scopes_that_services_and_routes_require_are_known(file: Path) -> None:
    routes = "    scopes: [staff]\n    routes: [{path: '/a', scopes: [reports]}]\n"
    file.write_text(CRM + routes)
    run("config", "apply", str(file))
    run("apikey", "create", "ci", "--scope", "crm", "--scope", "staff", "--scope", "reports")
    assert ApiKey.objects.get().scopes == ["crm", "staff", "reports"]


def test_a_key_for_every_service_says_so() -> None:
    run("apikey", "create", "ci", "--all-services", "--scope", "debug", "--scope", "debug")
    assert ApiKey.objects.get().scopes == ["*", "debug"]


def test_a_faulty_file_exits_with_1(tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text("version: 2\n")
    process = subprocess.run(
        [sys.executable, "-m", "django", "config", "validate", str(faulty)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "line 1: version: must be 1, not 2" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.django_db(transaction=True)
def test_history_lists_the_changes_and_rollback_undoes_them(file: Path) -> None:
    run("config", "apply", str(file))
    file.write_text(CRM + "    cache: {ttl: 7}\n")
    run("config", "apply", str(file))
    out, _ = run("config", "history")
    latest, first = (line.split() for line in out.splitlines())
    assert latest[-2:] == ["changed", "crm"]
    assert first[3].startswith("command:")
    assert "+    cache: {ttl: 7}" in run("config", "history", latest[0])[0]
    out, _ = run("config", "rollback", first[0])
    assert out == f"updated crm\nrolled back to revision {first[0]}\n"
    assert Service.objects.get().cache is None


def test_an_unknown_revision_is_an_error() -> None:
    assert fault("config", "rollback", "404") == ["there is no revision 404"]


@pytest.mark.parametrize("option", ["tenant", "expires", "consumer", "owner"])
def test_an_empty_option_of_a_key_is_refused_and_not_left_out(option: str) -> None:
    assert fault("apikey", "create", "ci", "--all-services", f"--{option}", "") == [f"--{option} is empty"]
    assert not ApiKey.objects.exists()


def test_a_rotation_without_a_value_for_its_end_changes_nothing() -> None:
    key = run("apikey", "create", "ci", "--all-services")[0].splitlines()[-1]
    assert fault("apikey", "rotate", key, "--expires", "") == ["--expires is empty"]
    assert ApiKey.objects.get().rotated_at is None


def test_a_key_without_a_name_is_refused() -> None:
    assert fault("apikey", "create", " ", "--all-services") == ["name: This field cannot be blank."]


@pytest.mark.parametrize(
    ("action", "status"), [("validate", 1), ("diff", 2), ("apply", 1), ("export", 1), ("import", 2)]
)
def test_a_file_without_a_name_is_refused(action: str, status: int) -> None:
    assert fault("config", action, "", status=status) == ["the name of the file is empty"]


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (["warm"], "POST /metrics/cache/warm"),
        (["flush"], "DELETE /metrics/cache"),
        (["invalidate", "prices"], "DELETE /metrics/cache/<service>?tag=TAG"),
        (["stats"], "GET /metrics/cache"),
    ],
)
def test_without_redis_a_command_of_the_cache_names_the_request_that_does_the_same(
    arguments: list[str], instead: str
) -> None:
    assert fault("cache", *arguments) == [f"without REDIS_URL each process has its own cache: use {instead}"]


def test_usage_of_days_in_the_wrong_order_or_before_all_others() -> None:
    expected = ["--from, 2026-02-01, is after --to, 2026-01-31"]
    assert fault("usage", "--from", "2026-02-01", "--to", "2026-01-31") == expected
    assert run("usage", "--to", "0001-01-05", "--format", "json")[0] == "[]\n"


def test_an_alert_that_does_not_exist_is_an_error_and_not_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "alerts_now", lambda *_: operations.AlertsNow((), (), (), ()))
    with pytest.raises(CommandError, match="there is no alert 'paged'"):
        AlertsCommand()._list("paged")
