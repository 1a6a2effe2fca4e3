"""What a client is told whose host is not allowed."""

import pytest

from routing.router.hosts import MAX_SHOWN, explain_refusal


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("gw.example:8000", "gw.example"),
        ("10.1.2.3", "10.1.2.3"),
        ("[fd00::7]:80", "[fd00::7]"),
        ("GW.Example.", "gw.example"),
    ],
)
def test_the_host_and_what_to_set_are_named(host: str, shown: str) -> None:
    assert explain_refusal(host) == (
        f"{shown} is not served here; if it is this gateway's own host, its operator adds it to ALLOWED_HOSTS"
    )


@pytest.mark.parametrize(
    "host", ["<script>", "a b", "a\r\nb", "a'", "x" * (MAX_SHOWN + 1), "", "a/b", "bücher.example"]
)
def test_what_has_not_the_form_of_a_host_is_not_repeated(host: str) -> None:
    assert explain_refusal(host) == (
        "the Host field names a host that is not served here; ALLOWED_HOSTS lists those that are"
    )
