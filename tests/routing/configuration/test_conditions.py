import pytest

from routing.configuration.conditions import conditions
from routing.configuration.faults import ConfigurationError


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("slow", "must be a mapping"),
        ({}, "needs a status, a header or a body"),
        ({"state": 1}, "unknown key 'state' (did you mean 'status'?)"),
        ({"status": 99}, "must be a status from 100 to 599"),
        ({"status": True}, "must be a status"),
        ({"status": "6xx"}, "must be a status"),
        ({"status": "200"}, "must be a status"),
        ({"status": []}, "one value or a list"),
        ({"body": {}}, "must have 1 to 16 fields"),
        ({"body": {"error": {"code": "x"}}}, "body.error: must be a value or a list of values; a nested field"),
        ({"body": {"error": [["x"]]}}, "body.error: must be a string, number"),
        ({"body": {"error..code": "x"}}, "body.error..code: must be a path"),
        ({"body": {".".join("a" * 17): "x"}}, "of at most 16 steps"),
        ({"body": {"error": float("nan")}}, "nan cannot be represented"),
        ({"body": {"error": float("inf")}}, "inf cannot be represented"),
        ({"body": {"error": "x" * 2_000}}, "at most 1024"),
        ({"body": {"error": ["x"] * 300}}, "list of 1 to 256"),
        ({"body": {f"f{index}": 1 for index in range(20)}}, "1 to 16 fields"),
        ({"header": {"x y": "1"}}, "'x y' is not a header name"),
        ({"header": {"x": 1.5}}, "header.x: must be a header field's value"),
        ({"header": {"x": None}}, "must be a header field's value"),
        ({"header": {"x": "a\r\nb"}}, "must be a header field's value"),
        ([{"status": 429}] * 65, "at most 64 conditions"),
        ([{"status": 429}, {"status": 1}], "[1].status: must be a status"),
    ],
)
def test_a_faulty_condition_is_explained(document: object, message: str) -> None:
    with pytest.raises((ValueError, ConfigurationError)) as raised:
        conditions(document)
    assert message in str(raised.value)


def test_an_empty_list_never_holds() -> None:
    assert not conditions([]).matches(200, [], b"")
