"""libyaml and PyYAML read and write the same."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from routing.configuration import yaml_events
from routing.configuration.yaml_events import build
from routing.configuration.yaml_writing import WIDTH, Dumper, write_block
from tests.routing.configuration.test_document import EXAMPLE, RELAXED

WORDS = st.sampled_from(
    [
        "a",
        "x y",
        "on",
        "~",
        "",
        "12",
        "1e5",
        "1:30",
        "k: v",
        "# c",
        "it's",
        'say "x"',
        "{b}",
        "- d",
        "\\",
        "\t",
        "\n",
        "\u2028",
    ]
)
TEXTS = WORDS | st.text(st.sampled_from("ab 1:#-'\"{}[],&*!|>%@`?\\~=<\t\n\x85\xe9\U0001f600"), max_size=150)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


def as_pyyaml_writes(value: Any) -> str:
    text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH)
    assert isinstance(text, str)
    return text


@RELAXED
@given(VALUES)
def test_a_value_is_written_as_pyyaml_writes_it(value: Any) -> None:
    assert write_block(value) == as_pyyaml_writes(value)


@RELAXED
@given(VALUES)
def test_both_parsers_build_the_same(value: Any) -> None:
    text = as_pyyaml_writes(value)
    fast, slow = (yaml_events._build(text, parser) for parser in (yaml.CSafeLoader, yaml.SafeLoader))
    assert (fast.structure, fast.lines) == (slow.structure, slow.lines)


def test_both_parsers_give_the_example_file_the_same_lines() -> None:
    text = EXAMPLE.read_text()
    fast, slow = (yaml_events._build(text, parser) for parser in (yaml.CSafeLoader, yaml.SafeLoader))
    assert fast.lines == slow.lines
    assert len(fast.lines) > 100


@pytest.mark.parametrize("text", ["a: [1", "a: &b 1", "a: *b", "[" * 50 + "]" * 50, "a: 1\n---\nb: 2", "a: 'x"])
def test_errors_are_pyyamls_own(text: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as slow:
        yaml_events._build(text, yaml.SafeLoader)
    with pytest.raises(yaml.MarkedYAMLError) as found:
        build(text)
    assert str(found.value) == str(slow.value)


@pytest.mark.parametrize("text", ["[" * 5_000, "{" * 5_000, "a: &b 1", "a: *b", "a: 1\n---\nb: 2"])
def test_what_the_builder_refuses_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """PyYAML takes 0.15 s for a thousand brackets before its first event, and libyaml a thousandth of it."""
    monkeypatch.delattr(yaml, "SafeLoader")
    with pytest.raises(yaml.composer.ComposerError):
        build(text)


def test_what_is_not_accepted_is_read_to_its_end() -> None:
    built = build("? {a: [1, {b: 2}]}\n: {c: [3]}\nd: !x {e: [4]}\nf: !!set {g}\nh: 5\n")
    assert built.structure == {"d": None, "f": None, "h": 5}
    assert [(fault.line, fault.message) for fault in built.faults.found] == [
        (1, "a key must be a string"),
        (3, "the tag '!x' is not accepted"),
        (4, "the tag '!!set' is not accepted"),
    ]


def test_numbers_that_yaml_1_1_and_1_2_read_differently_are_not_accepted() -> None:
    built = build("a: 0300\nb: '0300'\nc: 0\nd: 0.5\ne: [-017]\nf: 0x10\ng: 10\n")
    assert built.structure == {"a": None, "b": "0300", "c": 0, "d": 0.5, "e": [None], "f": 16, "g": 10}
    assert [(fault.line, str(fault.message).partition(" is ")[0]) for fault in built.faults.found] == [
        (1, "0300"),
        (5, "-017"),
    ]
