"""The configuration file: the line of each fault, and the canonical form."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.configuration.document import LIMIT, Document, dump, inline, parse, parse_file
from routing.configuration.faults import ConfigurationError

EXAMPLE = Path(__file__).parents[3] / "docs" / "gateway.example.yaml"


def secret(name: str) -> str | None:
    return "s3cret" if name == "GATEWAY_SECRET_SLACK" else None


def faults(
    text: str | bytes, read: Callable[[Document], Any] = lambda document: document.services(secret)
) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        read(parse(text))
    return str(error.value).splitlines()


def test_the_example_file_is_valid_and_round_trips() -> None:
    document = parse(EXAMPLE.read_text())
    (service,) = document.services(secret)
    assert service.name == "slackIntelligence"
    assert [route.path for route in service.routes] == ["/channels", "/mailboxes/{user}/messages", "/channels"]
    assert service.policy.headers == ((b"authorization", b"s3cret"),)
    again = parse(dump(document.structure))
    assert again.services(secret) == (service,)
    assert dump(again.structure) == dump(document.structure)
    assert "env:GATEWAY_SECRET_SLACK" in dump(document.structure)


FAULTY = """\
version: 1
services:
  crm:
    targets:
      - url: http://127.0.0.1:9101
        weigth: 2
    cache:
      ttl: on
      tll: 300
    timeout: {total: 9h}
    auth: off
    routes:
      - path: /a
      - {path: /a}
      - methods: [GET,
                  get]
        path: x
  123: {targets: [{url: http://a}]}
"""


def test_every_fault_has_its_line() -> None:
    assert [line[: line.index(": ", 10)] for line in faults(FAULTY)] == [
        "line 6: services.crm.targets[0]",
        "line 8: services.crm.cache.ttl",
        "line 9: services.crm.cache",
        "line 10: services.crm.timeout",
        "line 11: services.crm.auth",
        "line 14: services.crm.routes[1].path",
        "line 16: services.crm.routes[2].methods[1]",
        "line 17: services.crm.routes[2].path",
        "line 18: services.123",
    ]


def test_an_unknown_key_is_reported_with_a_suggestion() -> None:
    text = "version: 1\nservices:\n  crm:\n    targets: [{url: http://a}]\n    cache:\n      ttl: 1\n      tll: 2\n"
    assert faults(text) == ["line 7: services.crm.cache: unknown key 'tll' (did you mean 'ttl'?)"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("TTL", "ttl"),
        ("Scope", "scope"),
        ("stale-if-error", "stale_if_error"),
        ("staleIfError", "stale_if_error"),
        ("tagss", "tags"),
        ("arvy", "vary"),
    ],
)
def test_a_key_in_other_letters_is_suggested(key: str, meant: str) -> None:
    text = f"version: 1\nservices:\n  crm:\n    targets: [{{url: http://a}}]\n    cache: {{{key}: 1}}\n"
    assert faults(text)[0] == f"line 5: services.crm.cache: unknown key {key!r} (did you mean {meant!r}?)"


@pytest.mark.parametrize(
    ("text", "where", "meant"),
    [
        ("ttl: 300", "crm", "cache: {ttl: ...}"),
        ("url: http://b", "crm", "targets: [{url: ...}]"),
        ("routes: [{path: /a, failure_threshold: 5}]", "crm.routes[0]", "breaker: {failure_threshold: ...}"),
        ("IP: {}", "crm", "ip"),
        ("pi: {}", "crm", "ip"),
    ],
)
def test_a_key_that_belongs_into_a_section_is_suggested_there(text: str, where: str, meant: str) -> None:
    found = faults(f"version: 1\nservices:\n  crm:\n    targets: [{{url: http://a}}]\n    {text}\n")
    assert [line.partition(": unknown key ")[0] for line in found] == [f"line 5: services.{where}"]
    assert found[0].endswith(f"(did you mean {meant!r}?)")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("    routes: [{path: /a/{id}}]", "write values with"),
        ("    headers: {X-A: @b}", "write values with"),
        ("    scopes: [*]", "write values with"),
        ("    auth: a: b", "write values with"),
        ("\tauth: none", "indent with spaces"),
    ],
)
def test_what_yaml_does_not_accept_has_a_hint(line: str, hint: str) -> None:
    (fault,) = faults(f"version: 1\nservices:\n  crm:\n    enabled: true\n{line}\n")
    assert fault.startswith("line 5: not valid YAML or JSON: ")
    assert hint in fault


def test_a_name_with_a_line_break_is_quoted_in_a_fault() -> None:
    (fault,) = faults('version: 1\nservices:\n  "crm\\n": {targets: [{url: http://a}]}\n')
    assert fault.startswith(r"line 3: services['crm\n']: ")


@pytest.mark.parametrize("character", ["\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\ufffe", "\U0001f600"])
def test_characters_that_json_allows_in_strings_are_kept(character: str) -> None:
    structure = {"version": 1, "services": {"a": f"x {character} y"}}
    text = json.dumps(structure, ensure_ascii=False, indent="\t")
    assert parse(text).structure == structure
    line = 1 + text[: text.index("services")].count("\n")
    assert parse(text).lines[("services",)] == line


def test_a_tag_with_an_unknown_placeholder_is_reported_with_its_line() -> None:
    head = (
        "version: 1\nservices:\n  crm:\n    targets: [{url: http://a}]\n    cache:\n      scope: shared\n      tags:\n"
    )
    unknown = head + "        - all\n        - of:{callr}\n"
    assert faults(unknown) == ["line 9: services.crm.cache.tags[1]: {callr} is not a parameter of the route's path"]
    (shared,) = faults(head + "        - of:{caller}\n")
    assert shared.startswith("line 7: services.crm.cache: tags may not hold {caller} in scope shared")


def test_a_duplicate_key_is_reported_with_its_second_line() -> None:
    assert faults("version: 1\nservices:\n  crm: {}\n  crm: {}\n") == ["line 4: services: duplicate key 'crm'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nservices: [", "line 2: not valid YAML or JSON"),
        ('{"version": 1,\n"services": {"crm": }}', "line 2: "),
        ("a: b: c", "line 1: not valid YAML or JSON"),
        ("version: 1\n---\nversion: 1\n", "line 2: not valid YAML or JSON: expected a single document"),
        ("version: 1\nservices: &a {}\n", "line 2: not valid YAML or JSON: anchors and aliases are not accepted"),
        ("version: 1\nservices: *a\n", "line 2: not valid YAML or JSON: anchors and aliases are not accepted"),
        ("version: 1\nservices: !!python/object/apply:os.system [ls]\n", "line 2: services: the tag"),
        ("version: 1\nservices: !!binary aGk=\n", "line 2: services: the tag '!!binary' is not accepted"),
        ("version: !!int x\n", "line 1: version: 'x' does not match its tag"),
        ("version: !!bool x\n", "line 1: version: 'x' does not match its tag"),
        ("version: 1\n? [a]\n: b\n", "line 2: a key must be a string"),
        ("version: 1\nservices: \x07\n", "line 2: a control character"),
        (b"version: 1\nservices: \xff\n", "line 2: not UTF-8"),
        ("[" * 100, "line 1: not valid YAML or JSON: nested deeper than 40"),
        ("x" * (LIMIT + 1), "the file is larger than 5 MB"),
        ("version: 1" + "0" * 5_000, "line 1: version: "),
        ('{"version": "\\ud83d"}', "line 1: version: an unpaired surrogate"),
        ("", "line 1: must be a mapping"),
    ],
)
def test_an_invalid_file_is_a_fault_with_its_line(text: str | bytes, message: str) -> None:
    assert faults(text)[0].startswith(message)


def test_aliases_cannot_expand() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"k{n}: &k{n} [*a, *a]\n" for n in range(30))
    assert len(faults(bomb)) == 1


@pytest.mark.parametrize("indent", ["  ", "\t"])
def test_json_is_accepted_and_has_lines(indent: str) -> None:
    text = json.dumps(
        {"version": 1, "services": {"crm": {"targets": [{"url": "http://a"}], "atuh": "none"}}}, indent=indent
    )
    line = 1 + text[: text.index("atuh")].count("\n")
    assert faults(text) == [f"line {line}: services.crm: unknown key 'atuh' (did you mean 'auth'?)"]


def test_json_is_parsed_as_json() -> None:
    structure = {"a": [1e5, -2.5e-3, "\U0001f600", "on", "2024-01-01", None, True], "=": "<<", "no": "~"}
    assert parse(json.dumps(structure)).structure == structure


def test_booleans_as_keys_dates_and_merge_keys_are_strings() -> None:
    structure = parse("on: 1\n123: 2024-01-01\n<<: {a: =}\n").structure
    assert structure == {"on": 1, "123": "2024-01-01", "<<": {"a": "="}}


def test_equal_configurations_have_equal_texts() -> None:
    first = """
version: 1
services:
  b: {targets: [{url: http://b, weight: 1}, {url: http://a}], cache: {scope: user, ttl: 3.0}, enabled: true, hosts: []}
  a: {targets: [{url: http://a}], fallback: {body: {y: 1, x: 2}}, auth: null}
"""
    second = """
services:
  a: {fallback: {body: {x: 2, y: 1}}, targets: [{url: http://a, enabled: true}]}
  b: {cache: {ttl: 3, scope: user}, targets: [{url: http://a}, {url: http://b}], routes: []}
version: 1
"""
    assert dump(parse(first).structure) == dump(parse(second).structure)
    assert dump(parse(first).structure).index("  a:") < dump(parse(first).structure).index("  b:")


def test_defaults_are_left_out_and_other_values_kept() -> None:
    text = (
        "version: 1\nservices:\n  a:\n    targets: [{url: http://a, weight: 2}]\n    enabled: false\n    cache: off\n"
    )
    assert parse(dump(parse(text).structure)).structure["services"]["a"] == {
        "targets": [{"url": "http://a", "weight": 2}],
        "enabled": False,
        "cache": False,
    }


def test_keys_that_this_version_does_not_know_are_shown() -> None:
    """An export of rows that a later version has written shows what is wrong with them."""
    structure = {
        "version": 1,
        "services": {"a": {"targets": [{"url": "http://a"}], "cache": {"new": 1, "ttl": 5}, "newer": {"x": 1}}},
        "plans": {"free": {"later": True, "rate": "1/s"}},
        "alerts": [{"name": "down", "on": "circuit.open", "to": "email:a@example.com", "quiet": "5m"}],
    }
    shown = parse(dump(structure)).structure
    assert list(shown["services"]["a"]["cache"]) == ["ttl", "new"]
    assert shown["services"]["a"]["newer"] == {"x": 1}
    assert shown["plans"]["free"] == {"rate": "1/s", "later": True}
    assert shown["alerts"][0]["quiet"] == "5m"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
    | st.sampled_from(
        [
            "off",
            "1e5",
            "12:30",
            "2024-01-01",
            "~",
            "a: b",
            "# x",
            "'",
            "0x1f",
            "1_000",
            "<<",
            "=",
            ".inf",
            "a\n\x85\u2028b\r",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aon1:~ ", max_size=4), inner, max_size=3),
    max_leaves=8,
)
RELAXED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@RELAXED
@given(JSON)
def test_any_json_value_round_trips(value: Any) -> None:
    structure = {"version": 1, "services": {"a": {"targets": [{"url": "http://a"}], "fallback": {"body": value}}}}
    text = dump(structure)
    document = parse(text)
    assert document.services(secret)[0].policy.fallback is not None
    body = document.structure["services"]["a"]["fallback"]["body"]
    assert body == value
    assert dump(document.structure) == text
    assert parse(inline(value)).structure == value


@RELAXED
@given(st.text(st.sampled_from("version: 1\n-[]{}&*!|>'\"%@`#,? \t\\u0x\x85\ufeff\U0001f600"), max_size=40))
def test_an_arbitrary_text_raises_nothing_but_faults(text: str) -> None:
    for read in (parse, parse_file):
        with suppress(ConfigurationError):
            read(text).services(secret)


def test_a_file_has_all_its_faults_at_once() -> None:
    text = """\
version: 1
services:
  a:
    targets: [{url: "http://a"}]
    cache: {ttl: 0300}
    timeout: {read: 5x}
    enabled: true
    enabled: false
  b:
    headers: {Authorization: env:GATEWAY_SECRET_B}
    colour: red
"""
    with pytest.raises(ConfigurationError) as found:
        parse_file(text)
    assert [(fault.line, fault.message.partition(" ")[0], fault.key) for fault in found.value.faults] == [
        (5, "0300", None),
        (6, "must", None),
        (8, "duplicate", None),
        (9, "a", None),
        (11, "unknown", "colour"),
    ]
