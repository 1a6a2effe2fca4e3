"""`manage.py config import` of another gateway's file: exit statuses, the file that is written, and what is refused."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.routing.imports.test_imports import FILES, TOML


def run(*arguments: str) -> tuple[int, str, str]:
    out, errors, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("config", "import", *arguments, stdout=out, stderr=errors)
    except SystemExit as exit_:
        status = int(str(exit_.code))
    return status, out.getvalue(), errors.getvalue()


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as error:
        call_command("config", "import", *arguments)
    assert error.value.returncode == 2
    return str(error.value)


def test_the_configuration_is_the_output_and_the_report_beside_it() -> None:
    status, out, errors = run(str(FILES / "kong.yaml"))
    assert status == 3
    assert out.startswith("version: 1\nservices:\n")
    lines = errors.splitlines()
    assert lines[-1] == "decK: 3 services; without a counterpart: 11"
    expected = "left out services[2].routes[0].plugins[1]: the plugin company-audit: it may refuse callers, who "
    assert any(line.startswith(expected) for line in lines)
    assert "planted" not in out + errors


def test_a_complete_import_exits_with_0_and_its_file_is_valid(tmp_path: Path) -> None:
    source, target = tmp_path / "dynamic.toml", tmp_path / "gateway.yaml"
    source.write_text(TOML)
    status, out, _ = run(str(source), "--output", str(target))
    assert (status, out.splitlines()[-1]) == (0, "Traefik: 1 service; without a counterpart: 0")
    call_command("config", "validate", str(target), stdout=io.StringIO())
    assert "exists already" in refusal(str(source), "--output", str(target))


def test_the_report_as_json(tmp_path: Path) -> None:
    status, out, _ = run(str(FILES / "litellm.yaml"), "--json", "--output", str(tmp_path / "gateway.yaml"))
    report = json.loads(out)
    assert (status, report["product"], report["complete"]) == (3, "LiteLLM", False)
    secret = {"kind": "secret", "path": "model_list[2].litellm_params.api_key"}
    assert {**secret, "text": "set GATEWAY_SECRET_ANTHROPIC_API_KEY"} in report["notes"]


def test_what_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("a: b\n")
    assert "no file of decK, KrakenD, LiteLLM or Traefik that is recognized" in refusal(str(other))
    assert "nothing to import" in refusal(str(other), "--from", "deck")
    own = tmp_path / "own.yaml"
    own.write_text("version: 1\nservices: {a: {targets: [{url: http://a}]}}\n")
    assert refusal(str(own)) == "this is a file of this gateway: `config apply` reads it"
    kong = str(FILES / "kong.yaml")
    assert "for OpenAPI documents only" in refusal(kong, "--dry-run")
    assert "--service is for OpenAPI documents" in refusal(kong, "--service", "crm", "--from", "deck")
