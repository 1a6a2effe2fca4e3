"""The `webhooks` of a configuration document: their faults, their canonical form, and their secrets."""

from typing import Any

import pytest

from routing.configuration import literals
from routing.configuration.decode import decode
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError, Faults, UnresolvedSecret
from routing.configuration.webhooks import decode_each_webhook, decode_webhook, decode_webhooks
from routing.webhooks.policy import (
    Algorithm,
    Encoding,
    Forward,
    HmacForm,
    Publish,
    PubSubForm,
    TokenForm,
    Verify,
    Webhook,
)

SECRETS = {"GATEWAY_SECRET_A": "first", "GATEWAY_SECRET_B": "second", "GATEWAY_SECRET_EMPTY": ""}
SLACK: dict[str, Any] = {"verify": "slack", "secret": "env:GATEWAY_SECRET_A"}


def secret(name: str) -> str | None:
    if name == "SECRET_KEY":
        raise ValueError(f"env:{name} is not allowed")
    return SECRETS.get(name)


def document(webhooks: Any, services: Any = None) -> dict[str, Any]:
    targets = {"targets": [{"url": "http://127.0.0.1:1"}]}
    return {"version": 1, "services": services or {"crm": targets}, "webhooks": webhooks}


def hook(**settings: Any) -> Webhook:
    return decode_webhook("hook", settings, secret)


def faults(webhooks: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        decode(document(webhooks), secret)
    return str(error.value).splitlines()


def test_a_webhook_with_everything() -> None:
    found = hook(
        verify="slack",
        secret=["env:GATEWAY_SECRET_A", "env:GATEWAY_SECRET_B"],
        service="crm",
        invalidates=["channel:{event.channel}", "team:{header.x-team}"],
        publish={"topic": "slack:{event.type}", "type": "change", "data": {"channel": "{event.channel}"}},
        forward={"path": "/in?x=1"},
        id="{event_id}",
        attempts=3,
        enabled=False,
    )
    assert found == Webhook(
        name="hook",
        verify=Verify.SLACK,
        secrets=(b"first", b"second"),
        enabled=False,
        service="crm",
        invalidates=("channel:{event.channel}", "team:{header.x-team}"),
        publish=Publish(topic="slack:{event.type}", type="change", data={"channel": "{event.channel}"}),
        forward=Forward(service="crm", path="/in?x=1"),
        id="{event_id}",
        attempts=3,
    )
    assert hook(**SLACK, forward=False, publish=False) == Webhook(name="hook", verify=Verify.SLACK, secrets=(b"first",))


def test_the_forms_of_some_kinds() -> None:
    shop = hook(
        verify="hmac",
        secret="env:GATEWAY_SECRET_A",
        header="X-Shop",
        algorithm="sha512",
        encoding="base64",
        prefix="v1=",
        timestamp_header="X-Time",
        template="{timestamp}.{body}",
    )
    assert shop.hmac == HmacForm(
        header="x-shop",
        algorithm=Algorithm.SHA512,
        encoding=Encoding.BASE64,
        prefix="v1=",
        timestamp_header="x-time",
        template="{timestamp}.{body}",
    )
    assert hook(verify="shared_token", secret="env:GATEWAY_SECRET_A").token == TokenForm()
    push = hook(verify="google_pubsub", audience="https://g/hooks/x", email="a@b")
    assert push.pubsub == PubSubForm(audience="https://g/hooks/x", email="a@b")
    SECRETS["GATEWAY_SECRET_W"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert len(hook(verify="standard", secret="env:GATEWAY_SECRET_W").secrets[0]) == 24


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "'verify' is required"),
        ({"verify": "slack"}, "'secret' is required"),
        ({"verify": "slak", "secret": "x"}, "must be slack, github"),
        (SLACK | {"secrt": "x"}, "did you mean 'secret'"),
        (SLACK | {"secret": ""}, "must be env:NAME"),
        (SLACK | {"secret": []}, "at most 2"),
        (SLACK | {"secret": ["a", "b", "c"]}, "at most 2"),
        (SLACK | {"secret": 7}, "must be a string"),
        (SLACK | {"secret": ["env:GATEWAY_SECRET_A", ""]}, "secret[1]"),
        (SLACK | {"secret": "env:NOT_SET"}, "NOT_SET is not set"),
        (SLACK | {"secret": "env:SECRET_KEY"}, "not allowed"),
        (SLACK | {"secret": "Bearer env:GATEWAY_SECRET_A"}, "alone"),
        (SLACK | {"secret": "masked:0123456789abcdef"}, "must be env:NAME"),
        (SLACK | {"verify": "standard"}, "whsec_ and base64"),
        (SLACK | {"header": "x-a"}, "is for verify: hmac or shared_token"),
        (SLACK | {"audience": "x"}, "is for verify: google_pubsub"),
        ({"verify": "hmac", "secret": "abc"}, "hmac needs 'header'"),
        ({"verify": "hmac", "secret": "a", "header": "h", "template": "{x}"}, "must contain {body}"),
        (
            {"verify": "hmac", "secret": "a", "header": "h", "template": "{timestamp|lower}{body}"},
            "must contain {body}",
        ),
        ({"verify": "hmac", "secret": "a", "header": "h", "timestamp_header": "t"}, "need each other"),
        ({"verify": "google_pubsub"}, "needs 'audience'"),
        ({"verify": "google_pubsub", "audience": "a", "email": "b", "secret": "c"}, "has none"),
        ({"verify": "google_pubsub", "audience": "a", "email": "b", "keys_url": "file:///etc/passwd"}, "https URL"),
        ({"verify": "google_pubsub", "audience": "a", "email": "b", "keys_url": "http://a/keys"}, "must be https"),
        ({"verify": "hmac", "secret": "a", "header": "h", "id": "delivery"}, "must have a field"),
        (SLACK | {"invalidates": "x"}, "must be a list"),
        (SLACK | {"invalidates": ["{event.channel"]}, "braces"),
        (SLACK | {"invalidates": ["x"] * 21}, "at most 20"),
        (SLACK | {"invalidates": ["*"]}, "needs 'service'"),
        (SLACK | {"invalidates": ["*", "x"], "service": "crm"}, "alone"),
        (SLACK | {"invalidates": ["{header.authorization}"]}, "is a credential"),
        (SLACK | {"invalidates": ["{header.X-Goog-Channel-Token}"]}, "is a credential"),
        (SLACK | {"publish": {}}, "needs a topic"),
        (SLACK | {"publish": {"topic": "{event.type}"}}, "begins with a text of its own"),
        (SLACK | {"publish": {"topic": "service"}}, "begins with a text of its own"),
        (SLACK | {"publish": {"topic": "a b"}}, "without spaces"),
        (SLACK | {"publish": {"topic": "a:{b}", "type": "a b"}}, "letters, digits"),
        (SLACK | {"publish": {"topic": "a:{b}", "data": "all"}}, "body, none, or a mapping"),
        (SLACK | {"forward": True}, "must be a mapping"),
        (SLACK | {"forward": {"path": "/x"}}, "needs a service"),
        (SLACK | {"forward": {"service": "nothing"}}, "there is no service 'nothing'"),
        (SLACK | {"service": "nothing"}, "there is no service 'nothing'"),
        (SLACK | {"forward": {"service": "crm", "path": "x"}}, "must be a path"),
        (SLACK | {"attempts": 0}, "from 1 to 20"),
        ([], "must be a mapping"),
        (None, "must be a mapping"),
    ],
)
def test_faults_name_the_key(settings: Any, fault: str) -> None:
    found = faults({"hook": settings})
    assert any(line.startswith("webhooks.hook") and fault in line for line in found), found


def test_a_name_is_that_of_a_path() -> None:
    assert "a name is a letter" in faults({"a/b": SLACK})[0]
    assert "a name is a letter" in faults({"": SLACK})[0]


def test_a_fault_has_its_line_and_shows_no_secret() -> None:
    text = 'version: 1\nservices: {}\nwebhooks:\n  hook:\n    verify: github\n    secret: ["sk-live-1234567890", 7]\n'
    with pytest.raises(ConfigurationError) as error:
        parse(text).services(secret)
    assert str(error.value).startswith("line 6: webhooks.hook.secret[1]: must be a string")
    assert "1234567890" not in str(error.value)


def test_an_empty_variable_is_a_secret_that_verifies_nothing() -> None:
    assert hook(**SLACK | {"secret": "env:GATEWAY_SECRET_EMPTY"}).secrets == (b"",)


def test_a_missing_secret_puts_one_webhook_out_of_operation() -> None:
    webhooks = decode_each_webhook(
        {"good": SLACK, "bad": SLACK | {"secret": "env:NOT_SET"}, "unreadable": None}, secret
    )
    assert webhooks["good"].faults == ()
    assert webhooks["bad"].faults == ("secret: the environment variable NOT_SET is not set",)
    assert webhooks["unreadable"].faults != ()
    faults = Faults()
    decode_webhooks({"bad": SLACK | {"secret": "env:NOT_SET"}}, secret, faults)
    assert [fault.unresolved for fault in faults.found] == [True]
    assert issubclass(UnresolvedSecret, ValueError)


def test_the_canonical_form() -> None:
    webhooks = {
        "b": {"attempts": 2, "enabled": True, "secret": "env:GATEWAY_SECRET_A", "verify": "github", "forward": False},
        "a": {"verify": "slack", "secret": ["env:GATEWAY_SECRET_A"], "publish": {"topic": "a:{b}"}, "enabled": False},
    }
    text = dump(document(webhooks))
    assert text[text.index("webhooks:") :] == (
        "webhooks:\n"
        "  a:\n    verify: slack\n    secret: ['env:GATEWAY_SECRET_A']\n    enabled: false\n"
        "    publish: {topic: 'a:{b}'}\n"
        "  b: {verify: github, secret: 'env:GATEWAY_SECRET_A', attempts: 2}\n"
    )
    assert dump(parse(text).structure) == text
    assert "webhooks" not in dump(document({}))


def test_literal_secrets_are_found_and_masked() -> None:
    structure = document(
        {"hook": {"verify": "slack", "secret": ["abc", "env:GATEWAY_SECRET_A"]}, "b": {"secret": "xyz"}}
    )
    assert [fault.path for fault in literals.literal_secrets(structure)] == [
        ("webhooks", "hook", "secret", 0),
        ("webhooks", "b", "secret"),
    ]
    masked = literals.mask(structure, b"key")
    assert literals.has_masks(masked.structure)
    assert "abc" not in str(masked.structure)
    assert "xyz" not in str(masked.structure)
    assert "env:GATEWAY_SECRET_A" in str(masked.structure)
    assert literals.unmask(masked.structure, masked.secrets) == structure
    moved = document({"other": masked.structure["webhooks"]["hook"]})
    assert literals.mask(document({"other": {"secret": "abc"}}), b"key").secrets.keys().isdisjoint(masked.secrets)
    with pytest.raises(ConfigurationError):
        literals.unmask(moved, {})


def test_a_topic_that_every_caller_may_read_is_warned_of() -> None:
    text = (
        "version: 1\nservices: {crm: {targets: [{url: 'http://127.0.0.1:1'}]}}\nwebhooks:\n"
        '  a: {verify: slack, secret: "env:GATEWAY_SECRET_A", publish: {topic: "a:{x}"}}\n'
        '  b: {verify: slack, secret: "env:GATEWAY_SECRET_A", publish: {topic: "b:{x}", data: none}}\n'
        '  c: {verify: slack, secret: "env:GATEWAY_SECRET_A", publish: {topic: "c:{x}"}, service: crm}\n'
        '  d: {verify: slack, secret: "env:GATEWAY_SECRET_A", publish: {topic: "caller:{x}"}}\n'
    )
    document = parse(text)
    assert [(fault.line, fault.path) for fault in document.warnings(document.services(secret))] == [
        (4, ("webhooks", "a", "publish"))
    ]
