"""What `manage.py connect` writes, and what it refuses. tests/system/test_connect.py tries the credential."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from routing.configuration.conditions import conditions
from routing.database.loader import raw_document
from routing.models import Service
from routing.presets import shipped
from routing.presets.connect import service_settings

pytestmark = pytest.mark.django_db


def connect(preset: str, *answers: str, **options: bool) -> str:
    output = StringIO()
    options = {"skip_check": True, "no_input": True, **options}
    call_command("connect", preset, set=list(answers), stdout=output, stderr=StringIO(), **options)
    return output.getvalue()


def test_the_service_has_what_the_preset_lacks() -> None:
    assert "created slackIntelligence" in connect("slack")
    written = raw_document()["services"]["slackIntelligence"]
    assert written["preset"] == "slack"
    assert written["headers"] == {"Authorization": "Bearer env:GATEWAY_SECRET_SLACK_TOKEN"}
    assert written["targets"] == []


def test_the_request_to_paste_has_the_fields_that_the_api_requires() -> None:
    assert "\"X-API-Key: $KEY\" -H 'anthropic-version: 2023-06-01' http://" in connect("anthropic")
    assert set(raw_document()["services"]["anthropic"]["headers"]) == {"X-Api-Key"}


def test_another_address_and_name() -> None:
    connect("slack", "name=chat", "url=http://127.0.0.1:9101/api")
    assert [target["url"] for target in raw_document()["services"]["chat"]["targets"]] == ["http://127.0.0.1:9101/api"]


def test_a_service_that_exists_is_replaced_only_on_request() -> None:
    connect("slack")
    with pytest.raises(CommandError, match="use --replace"):
        connect("slack", "url=http://127.0.0.1:9101/api")
    assert "updated slackIntelligence" in connect("slack", "url=http://127.0.0.1:9101/api", replace=True)


@pytest.mark.parametrize(
    ("preset", "answers", "message"),
    [
        ("slak", (), r"there is no preset 'slak' \(known: anthropic, "),
        ("slack", ("secret=xoxb-1-abcdefgh",), "a literal secret"),
        ("slack", ("token=env:A",), r"--set has no token \(known: name, url, secret\)"),
        ("slack", ("name=a/b",), "'a/b' is not a valid name"),
        ("slack", ("name=",), "an answer is needed"),
        ("slack", ("url=ftp://a",), "url must be http://host or https://host"),
        ("gmail", (), "an answer is needed; use --set user="),
    ],
)
def test_what_cannot_be_a_service_is_not_written(preset: str, answers: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        connect(preset, *answers)
    assert not Service.objects.exists()


def test_a_secret_that_is_missing_here_is_reported_unless_nothing_is_tried() -> None:
    answer = "secret=env:GATEWAY_SECRET_OTHER"
    with pytest.raises(CommandError, match="GATEWAY_SECRET_OTHER is not set"):
        connect("slack", answer, skip_check=False)
    assert not Service.objects.exists()
    assert "created" in connect("slack", answer)


def test_nobody_is_asked_without_a_terminal() -> None:
    with pytest.raises(CommandError, match="nobody can be asked for name"):
        call_command("connect", "slack", stdout=StringIO())


@pytest.mark.parametrize("ending", [EOFError, KeyboardInterrupt])
def test_a_person_may_leave_the_questions(monkeypatch: pytest.MonkeyPatch, ending: type[BaseException]) -> None:
    def leave(_prompt: str) -> str:
        raise ending

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", leave)
    with pytest.raises(CommandError, match="nothing was written"):
        call_command("connect", "slack", stdout=StringIO())
    assert not Service.objects.exists()


ANSWERS = {
    "gmail": ["user=ann@example.com"],
    "google-calendar": ["user=ann@example.com"],
    "salesforce": ["url=https://acme.my.salesforce.com/", "client_id=3MVG9"],
}


@pytest.mark.parametrize("name", shipped.names())
def test_each_preset_is_written_as_a_valid_service(name: str) -> None:
    assert "created" in connect(name, *ANSWERS.get(name, []))


def test_an_address_may_end_with_a_slash() -> None:
    connect("salesforce", *ANSWERS["salesforce"])
    oauth2 = raw_document()["services"]["crm"]["credential"]["oauth2"]
    assert oauth2["token_url"] == "https://acme.my.salesforce.com/services/oauth2/token"


@pytest.mark.parametrize("name", shipped.names())
def test_the_answers_to_each_preset_are_used(name: str) -> None:
    """Its answers fill all placeholders, its check is a condition, and its example is a path."""
    preset = shipped.preset(name)
    connection = preset.connect
    answers = {question.key: f"<{question.key}>" for question in connection.ask}
    text = str(service_settings(name, preset, answers))
    assert all(answer in text for answer in answers.values())
    assert "{" not in text.replace("{'", "")
    assert conditions(connection.check.expect or {"status": 200}).items
    assert connection.check.path.startswith("/")
    assert connection.example.startswith("/")
