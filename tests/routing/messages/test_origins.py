import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.messages.origins import Origins, origin_pattern
from tests.processor_time import milliseconds


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com", "HTTPS://App.Example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com", "http://app.example.com:80"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("https://*.example.com:8443", "https://a.example.com:8443"),
        ("http://localhost:*", "http://localhost:5173"),
        ("http://localhost:*", "http://localhost"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("null", "null"),
        ("*", "https://any.example"),
        ("*", "null"),
    ],
)
def test_a_pattern_contains_an_origin(pattern: str, origin: str) -> None:
    assert Origins((origin_pattern(pattern),)).contains(origin)


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("https://app.example.com", "http://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com", "https://app.example.com.evil.test"),
        ("https://app.example.com", "https://app.example.com/"),
        ("https://app.example.com", "null"),
        ("https://app.example.com", ""),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://evilexample.com"),
        ("https://*.example.com", "https://.example.com"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://*.example.com", "https://evil.test/.example.com"),
        ("https://*.example.com", "https://evil.test?.example.com"),
        ("https://*.example.com", "https://evil.test#.example.com"),
        ("https://*.example.com", "https://evil.test@a.example.com"),
        ("https://*.example.com", "https://evil.test\\.example.com"),
        ("https://*.example.com", "https://a.example.com:8443"),
        ("http://localhost:*", "http://localhost:*"),
        ("http://localhost:*", "http://localhost.evil.test:80"),
        ("*", ""),
    ],
)
def test_a_pattern_does_not_contain_another_origin(pattern: str, origin: str) -> None:
    assert not Origins((origin_pattern(pattern),)).contains(origin)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://a.*.com",
        "https://*",
        "https://a:b",
        "**",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        origin_pattern(text)


LABELS = st.lists(st.text("abcxyz-0", min_size=1, max_size=5), min_size=1, max_size=4).map(".".join)


@given(LABELS, LABELS)
def test_a_wildcard_contains_exactly_the_hosts_below_its_own(host: str, base: str) -> None:
    origins = Origins((f"https://*.{base}",))
    assert origins.contains(f"https://{host}") == host.endswith(f".{base}")
    assert origins.contains(f"https://{host}.{base}")


@pytest.mark.parametrize("text", ["a" * 32_000, "https://" + "a." * 16_000, "https://" + "-" * 32_000, "a:" * 16_000])
def test_a_long_origin_costs_no_time(text: str) -> None:
    origins = Origins(("https://*.example.com", "http://localhost:*"))
    assert not origins.contains(text)
    assert milliseconds(lambda: origins.contains(text), 10) < 10
