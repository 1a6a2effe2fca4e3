"""Backends of every kind find the same named fields in any two bodies that have one key."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.cache.content_key import content_key

NAMES = ("channel", "cursor")
Pairs = list[tuple[str, Any]]
Reader = Callable[[Pairs], dict[str, Any]]


def first_counts(pairs: Pairs) -> dict[str, Any]:
    return dict(reversed(pairs))


def last_counts(pairs: Pairs) -> dict[str, Any]:
    return dict(pairs)


def without_case(pairs: Pairs) -> dict[str, Any]:
    """As Go reads JSON."""
    return {name.casefold(): value for name, value in pairs}


def as_php(pairs: Pairs) -> dict[str, Any]:
    """As parse_str names parameters."""
    return {
        name.lstrip(" ").partition("[")[0].partition("\0")[0].replace(".", "_").replace(" ", "_"): value
        for name, value in pairs
    }


READERS: tuple[Reader, ...] = (first_counts, last_counts, without_case, as_php)


def readings(body: str, kind: bytes) -> list[str]:
    """What each reader finds, also if it takes the body for what its type does not say."""
    found = []
    for reader in READERS:
        try:
            document = json.loads(body, object_pairs_hook=reader)
        except ValueError:
            document = None
        found.append(_named(document))
        separators = ("&", ";") if kind.endswith(b"urlencoded") else ()
        forms = [parse_qsl(body, keep_blank_values=True, separator=separator) for separator in separators]
        found += [_named(reader(form)) for form in forms]
    return found


def _named(document: object) -> str:
    if not isinstance(document, dict):
        return json.dumps(document)
    return json.dumps([document.get(name, "-absent-") for name in NAMES])


def check(bodies: list[str], kind: bytes) -> None:
    keyed = sorted((content_key("POST", kind, body.encode(), NAMES, ()).digest, body) for body in bodies)
    for (key, one), (other_key, other) in pairwise(keyed):
        if key == other_key and one != other:
            assert readings(one, kind) == readings(other, kind), (one, other)


_KEYS = st.sampled_from(
    [
        "channel",
        "Channel",
        "cursor",
        "CURSOR",
        "channel[]",
        "channel[0]",
        " channel",
        "channel\\u0000",
        "ch\\u0061nnel",
        "ts",
    ]
)
_VALUES = st.sampled_from(
    ["1", "1.0", '"1"', "true", "null", '"A"', '"a"', "[1]", "[1,1]", '{"channel":1}', "1e0", "-0", "0", "NaN", '""']
)
_JSON = st.lists(st.tuples(_KEYS, _VALUES), max_size=3).map(
    lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
)
_NOISE = st.sampled_from(["", " ", "x", "\ufeff", "{", "[1]"])
_PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["channel", "Channel", "cursor", "channel[]", "channel%5B%5D", "%63hannel", "+channel", "channel%00", "ts"]
        ),
        st.sampled_from(["=", "", "=="]),
        st.sampled_from(["1", "a", "A", "%41", "a+b", "a%20b", "%zz", "é", '{"channel":2}']),
    ),
    max_size=3,
)
_FORMS = st.tuples(_PARAMETERS, st.sampled_from(["&", ";", "&&"])).map(
    lambda form: form[1].join("".join(parts) for parts in form[0])
)


@settings(deadline=None)
@given(st.lists(st.tuples(_NOISE, _JSON, _NOISE).map("".join), min_size=2, max_size=12))
def test_json(bodies: list[str]) -> None:
    check(bodies, b"application/json")


@settings(deadline=None)
@given(st.lists(st.tuples(_NOISE, _JSON, _NOISE).map("".join), min_size=2, max_size=12))
def test_json_as_a_whole(bodies: list[str]) -> None:
    keyed = sorted((content_key("POST", b"application/json", body.encode(), None, ()).digest, body) for body in bodies)
    for (key, one), (other_key, other) in pairwise(keyed):
        if key == other_key and one != other:
            for reader in READERS:
                decode = partial(json.loads, object_pairs_hook=reader, parse_int=str, parse_float=str)
                assert decode(one) == decode(other), (one, other)


@settings(deadline=None)
@given(st.lists(_FORMS | _JSON, min_size=2, max_size=12))
def test_forms(bodies: list[str]) -> None:
    check(bodies, b"application/x-www-form-urlencoded")
