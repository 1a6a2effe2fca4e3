"""What parsers accept, as their error messages say it."""

from enum import StrEnum

import pytest

from gateway_project.reference.probing import Accepted, probe
from routing.configuration import values
from routing.configuration.section_parsers import switchable
from routing.configuration.values import ValueParser


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@pytest.mark.parametrize(
    ("parser", "words"),
    [
        (values.string, "a text"),
        (values.boolean, "true or false"),
        (values.integer(1, 5), "an integer from 1 to 5"),
        (values.number(0, 1), "a number from 0 to 1"),
        (values.duration, "a duration such as 500ms, 2s, 1m or 1h"),
        (values.rate, "a rate such as 100/m"),
        (values.one_of(Size), "small or large"),
        (values.token, "a header name"),
        (values.pattern, "a text: must start with '/'"),
        (values.json_value, "any JSON value"),
        (values.mapping, "a mapping of names to values"),
        (values.list_of(values.token), "a list, each item a header name"),
        (values.nullable(values.integer(1, 5)), "an integer from 1 to 5 or `null`"),
        (lambda value: value, "any value"),
    ],
)
def test_a_parser_says_what_it_accepts(parser: ValueParser, words: str) -> None:
    assert probe(parser).words == words


def test_the_keys_of_mappings_are_found_at_every_level() -> None:
    parser = values.mapping_of({"a": values.mapping_of({"b": values.boolean}), "c": values.list_of(values.string)})
    assert probe(parser).keys == {
        "a": Accepted("a mapping with the keys below", {"b": Accepted("true or false")}),
        "c": Accepted("a list, each item a text"),
    }


def test_the_keys_of_a_lists_items_are_the_lists() -> None:
    found = probe(values.list_of(values.mapping_of({"url": values.string})))
    assert found == Accepted("a list of mappings with the keys below", {"url": Accepted("a text")})


def test_switches_are_named() -> None:
    assert probe(switchable({"a": values.boolean})).words == "a mapping with the keys below or `on` or `off`"


def test_a_key_without_which_a_mapping_is_invalid_does_not_hide_the_others() -> None:
    def parse(value: object) -> object:
        settings = values.mapping_of({"rate": values.rate, "per": values.string})(value)
        if "rate" not in settings:
            raise ValueError("needs a rate")
        return settings

    assert probe(parse).keys["per"] == Accepted("a text")
