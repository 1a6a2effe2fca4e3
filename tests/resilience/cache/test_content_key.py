"""The key of a request's content: two bodies that a backend could answer differently never have the same."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache.content_key import MAX_CONTENT_BYTES, ContentKey, content_key

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
NAMES = ("channel", "cursor", "filter.since")
MANY = json.dumps({f"n{number}": 1 for number in range(1_001)})


def key(
    body: bytes | str, kind: bytes = JSON, names: tuple[str, ...] | None = NAMES, tags: tuple[str, ...] = ()
) -> ContentKey:
    return content_key("POST", kind, body.encode() if isinstance(body, str) else body, names, tags)


def same(one: bytes | str, other: bytes | str, kind: bytes = JSON, names: tuple[str, ...] | None = NAMES) -> bool:
    return key(one, kind, names).digest == key(other, kind, names).digest


class TestNamedFields:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"channel":"C1"}', '{ "channel" : "C1" }'),
            ('{"channel":"C1","cursor":"x"}', '{"cursor":"x","channel":"C1"}'),
            ('{"channel":"C1","ts":1}', '{"channel":"C1","ts":2}'),
            ('{"channel":"é"}', '{"channel":"\\u00e9"}'),
            ('{"filter":{"since":1,"note":"a"}}', '{"filter":{"note":"b","since":1}}'),
        ],
    )
    def test_bodies_that_agree_in_them_have_one_key(self, one: str, other: str) -> None:
        assert same(one, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"channel":"C1"}', '{"channel":"C2"}'),
            ('{"channel":"C1"}', '{"cursor":"C1"}'),
            ('{"channel":1}', '{"channel":"1"}'),
            ('{"channel":1}', '{"channel":1.0}'),
            ('{"channel":1}', '{"channel":true}'),
            ('{"channel":0}', '{"channel":false}'),
            ('{"channel":null}', "{}"),
            ('{"channel":""}', '{"channel":null}'),
            ('{"channel":"null"}', '{"channel":null}'),
            ('{"channel":10000000000000001}', '{"channel":10000000000000000}'),
            ('{"channel":0.1}', '{"channel":0.10000000000000001}'),
            ('{"channel":-0}', '{"channel":0}'),
            ('{"channel":1e400}', '{"channel":1e401}'),
            ('{"channel":["a","b"]}', '{"channel":["b","a"]}'),
            ('{"channel":["a"]}', '{"channel":"a"}'),
            ('{"channel":{"a":1,"b":2}}', '{"channel":{"b":2,"a":1}}'),
            ('{"channel":[[],[]]}', '{"channel":[[[]]]}'),
            ('{"channel":"\\ud800"}', '{"channel":"\\ud801"}'),
            ('{"channel":"e\\u0301"}', '{"channel":"é"}'),
            ('{"filter":{"since":1}}', '{"filter":{"since":2}}'),
        ],
    )
    def test_bodies_that_differ_in_one_have_two(self, one: str, other: str) -> None:
        assert not same(one, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            # the same name twice: which one counts differs
            ('{"channel":"C1","channel":"C2"}', '{"channel":"C1","channel":"C3"}'),
            ('{"channel":"C1","Channel":"C2"}', '{"channel":"C1","Channel":"C3"}'),
            ('{"channel":"C1","\\u017f":1,"s":2}', '{"channel":"C1","\\u017f":2,"s":1}'),
            # a name that some backends read as a field's
            ('{"CHANNEL":"C1"}', '{"CHANNEL":"C2"}'),
            ('{"channel\\u0000x":"C1"}', '{"channel\\u0000x":"C2"}'),
            ('{"filter.since":1}', '{"filter.since":2}'),
            ('{"filter":[{"since":1}]}', '{"filter":[{"since":2}]}'),
            ('{"filter":null}', '{"filter":3}'),
            ('{"Filter":{"since":1}}', '{"Filter":{"since":2}}'),
            # not JSON
            ('{"channel":"C1"} x', '{"channel":"C1"} y'),
            ('{"channel":"C1",}', '{"channel":"C1", }'),
            ('{"channel":"C1","x":NaN}', '{"channel":"C1","x":Infinity}'),
            ("{'channel':'C1'}", "{'channel':'C2'}"),
            ("channel=C1", "channel=C2"),
            ('"C1"', '"C2"'),
            ('[{"channel":"C1"}]', '[{"channel":"C2"}]'),
            ('\ufeff{"channel":"C1"}', '\ufeff{"channel":"C2"}'),
            # for whom, or by which method
            ('{"channel":"C1","token":"a"}', '{"channel":"C1","token":"b"}'),
            ('{"channel":"C1","_method":"PUT"}', '{"channel":"C1","_method":"GET"}'),
        ],
    )
    def test_ambiguous_bodies_are_compared_as_they_are(self, one: str, other: str) -> None:
        assert not same(one, other)
        assert same(one, one)
        assert key(one).values is None

    def test_other_encodings_are_compared_as_they_are(self) -> None:
        for encoding in ("utf-16", "utf-32", "utf-16-le"):
            one, other = ('{"channel":"C1"}', '{"channel":"C2"}')
            assert not same(one.encode(encoding), other.encode(encoding))
        assert not same(b'{"channel":"C1","x":"\xff"}', b'{"channel":"C1","x":"\xfe"}')

    @pytest.mark.parametrize("item", ["1", "{}", "[]", '"x"'])
    def test_many_items_are_compared_as_they_are(self, item: str) -> None:
        items = ",".join([item] * 2_000)
        assert not same(f'{{"channel":"C1","x":[{items}]}}', f'{{"channel":"C1","y":[{items}]}}')

    @pytest.mark.parametrize("levels", [40, 100, 5_000, MAX_CONTENT_BYTES // 2 - 100])
    def test_deep_nesting_is_harmless(self, levels: int) -> None:
        def nested(inner: str) -> str:
            return '{"channel":' + "[" * levels + inner + "]" * levels + "}"

        assert not same(nested("1"), nested("2"))

    @pytest.mark.parametrize(
        ("kind", "is_read"),
        [
            (b"application/json; charset=utf-8", True),
            (b'Application/JSON;charset="UTF-8"', True),
            (b"application/json; charset=latin-1", False),
            (b"application/json; charset=utf-8; charset=utf-7", False),
            (b"application/json; profile=x", False),
        ],
    )
    def test_fields_are_read_as_utf_8_only(self, kind: bytes, is_read: bool) -> None:
        assert (key('{"channel":"C1"}', kind).values is not None) is is_read
        assert (key('{"channel":"C1"}', kind).digest == key('{"channel":"C1"}').digest) is is_read


class TestForms:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("channel=C1&cursor=x", "cursor=x&channel=C1"),
            ("channel=C1&ts=1", "channel=C1&ts=2"),
            ("channel=a+b", "channel=a%20b"),
            ("%63hannel=C1", "channel=C1"),
            ("channel=C1&", "channel=C1"),
        ],
    )
    def test_forms_that_agree_have_one_key(self, one: str, other: str) -> None:
        assert same(one, other, FORM)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("channel=C1", "channel=C2"),
            ("channel=", "cursor="),
            ("channel=", "x=1"),
            ("channel=%80", "channel=%81"),
            ("channel=C1&channel=C2", "channel=C1&channel=C3"),
            ("channel=C1&channel[]=C2", "channel=C1&channel[]=C3"),
            ("channel%5B0%5D=C2", "channel%5B0%5D=C3"),
            ("Channel=C1", "Channel=C2"),
            ("+channel=C1", "+channel=C2"),
            ("filter_since=1", "filter_since=2"),
            ("channel=C1&%zz=1", "channel=C1&%zz=2"),
            ("channel=C1;cursor=a", "channel=C1;cursor=b"),
            ("flag&channel=C1", "flag2&channel=C1"),
            ('{"channel":"C1"}', '{"channel":"C2"}'),
            ("[1]", "[2]"),
            ("token=a&channel=C1", "token=b&channel=C1"),
            ("_method=put&channel=C1", "_method=get&channel=C1"),
        ],
    )
    def test_forms_that_a_backend_could_read_differently_have_two(self, one: str, other: str) -> None:
        assert not same(one, other, FORM)

    def test_many_parameters_are_compared_as_they_are(self) -> None:
        many = "&".join(f"a{number}=1" for number in range(5_000))
        assert not same(f"channel=C1&{many}&x=1", f"channel=C1&{many}&x=2", FORM)


class TestTheWhole:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"a":1}', ' {"a":\t1}\n'),
            ('{"a":1,"b":[{"d":2,"c":"x"}]}', '{"b": [{"c": "x", "d": 2}], "a": 1}'),
            ('{"a":"\\u0041"}', '{"a":"A"}'),
            ("[1, 2]", "[1,2]"),
            ('"x"', ' "x" '),
        ],
    )
    def test_without_fields_white_space_and_the_order_of_names_do_not_count(self, one: str, other: str) -> None:
        assert same(one, other, names=None)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"a":1}', '{"a":1.0}'),
            ('{"a":1}', '{"a":1e0}'),
            ('{"a":0}', '{"a":-0}'),
            ('{"a":9007199254740993}', '{"a":9007199254740992}'),
            ('{"a":1}', '{"a":"1"}'),
            ('{"a":[1,2]}', '{"a":[2,1]}'),
            ('{"a":"x y"}', '{"a":"x  y"}'),
            ('{"a":null}', "{}"),
            ('{"a":NaN}', '{"a": NaN}'),
            ('{"a":1,"a":2}', '{"a":2,"a":1}'),
            ('{"a":1,"a":2}', '{"a":1, "a":2}'),
            ('{"a":1,"A":2}', '{"A":2,"a":1}'),
            ('{"a":1}x', '{"a": 1}x'),
            ('\ufeff{"a":1}', '{"a":1}'),
            (f"{'[' * 40}{']' * 40}", f" {'[' * 40}{']' * 40}"),
            (MANY, f" {MANY}"),
        ],
    )
    def test_without_fields_anything_else_counts(self, one: str, other: str) -> None:
        assert not same(one, other, names=None)
        assert same(one, one, names=None)

    def test_without_fields_only_json_is_read(self) -> None:
        assert not same('{"a":1}', '{"a": 1}', FORM, None)
        assert not same('{"a":1}', '{"a": 1}', JSON + b"; charset=latin-1", None)
        assert not same("a=1&b=2", "b=2&a=1", FORM, None)

    def test_the_type_and_the_method_count(self) -> None:
        body = "channel=C1"
        assert key(body, FORM).digest != key(body, JSON).digest
        assert key(body, FORM, None).digest != key(body, FORM + b"; charset=utf-8", None).digest
        assert content_key("GET", FORM, body.encode(), NAMES, ()).digest != key(body, FORM).digest

    @pytest.mark.parametrize("names", [None, NAMES])
    def test_no_content_is_no_type(self, names: tuple[str, ...] | None) -> None:
        assert key("", JSON, names) == key("", b"", names)
        assert key("", JSON, names).digest != key("{}", JSON, names).digest

    def test_values_for_tags_are_strings_and_numbers(self) -> None:
        tags = ("channel", "limit", "flag", "none", "list", "gone", "empty")
        body = '{"channel":"C\\ud8001","limit":5,"flag":true,"none":null,"list":["a"],"empty":""}'
        for names in (None, tags):
            assert key(body, names=names, tags=tags).values == {"channel": "C\\ud8001", "limit": "5"}
        assert key("channel=C%201&limit=%ff", FORM, None, ("channel", "limit")).values == {
            "channel": "C 1",
            "limit": "\\xff",
        }


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
_FIELD_NAMES = st.sampled_from(["channel", "cursor", "filter", "Channel", "ts", "filter.since", "channel[]", "token"])
_BODIES = st.dictionaries(_FIELD_NAMES, _VALUES, max_size=4)
_PAIRS = st.lists(st.tuples(_FIELD_NAMES, st.text("a1&=+% é", max_size=3)), max_size=4)


def _named(body: dict[str, object]) -> str:
    """The named fields alone, as JSON."""
    since = body.get("filter")
    return json.dumps([body.get("channel", "-"), body.get("cursor", "-"), since if isinstance(since, dict) else "-"])


class TestAnyBody:
    @given(_BODIES, _BODIES)
    def test_one_key_means_equal_fields(self, one: dict[str, object], other: dict[str, object]) -> None:
        if not same(json.dumps(one), json.dumps(other)):
            return
        named = [
            {name: value for name, value in body.items() if name in ("channel", "cursor")} for body in (one, other)
        ]
        assert json.dumps(named[0], sort_keys=True) == json.dumps(named[1], sort_keys=True)
        if json.dumps(one) != json.dumps(other):  # neither was ambiguous
            for body in (one, other):
                assert not {"Channel", "channel[]", "token", "filter.since"} & body.keys()

    @given(_PAIRS, _PAIRS)
    def test_one_key_means_equal_parameters(self, one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
        if same(urlencode(one), urlencode(other), FORM) and one != other:
            named = [[pair for pair in pairs if pair[0] in NAMES] for pairs in (one, other)]
            assert sorted(named[0]) == sorted(named[1])
            assert len({name for name, _ in named[0]}) == len(named[0])

    @given(st.binary(max_size=200), st.sampled_from([JSON, FORM, b"", b"text/plain"]))
    def test_no_body_raises_an_error(self, body: bytes, kind: bytes) -> None:
        assert key(body, kind, tags=("channel",)).digest
