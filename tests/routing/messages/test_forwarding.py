import pytest

from routing.http import Headers
from routing.messages.forwarding import selected_cookies, to_backend, to_client
from routing.messages.own_cookies import OwnCookies
from routing.messages.references import PublicAddress

OWN = OwnCookies(frozenset({b"gateway_session", b"gateway_csrf"}))
TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
TARGET = "http://10.1.1.1:9101/base"


def forwarded(headers: Headers, added: Headers | None = None, keep_credential: bool = False) -> dict[bytes, bytes]:
    return dict(to_backend(headers, added or [], OWN, keep_credential=keep_credential))


def test_end_to_end_fields_are_forwarded_byte_for_byte() -> None:
    assert forwarded([(b"x-name", b"caf\xe9 \xff")])[b"x-name"] == b"caf\xe9 \xff"


def test_hop_by_hop_fields_and_those_named_by_connection_are_dropped() -> None:
    fields = forwarded([(b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"te", b"trailers"), (b"upgrade", b"h2c")])
    assert fields == {}


@pytest.mark.parametrize(
    "name", [b"x-gateway-caller", b"x_gateway_caller", b"x-forwarded-for", b"x_forwarded_host", b"via"]
)
def test_a_client_cannot_set_the_gateways_fields(name: bytes) -> None:
    assert name not in forwarded([(name, b"admin")])


@pytest.mark.parametrize(
    "name",
    [
        b"x-original-url",
        b"x-rewrite-url",
        b"x-rewrite-uri",
        b"x-middleware-subrequest",
        b"x-middleware-prefetch",
        b"x-invoke-status",
        b"x-now-route-matches",
        b"script_name",
        b"script-name",
        b"path_info",
        b"x-script-name",
        b"x_matched_path",
        b"x-http-method-override",
        b"x_method_override",
        b"x-host",
        b"x_original_host",
        b"x-http-host-override",
        b"x-url-scheme",
        b"front-end-https",
        b"proxy",
    ],
)
def test_a_client_cannot_override_the_path_or_method_that_was_authorized(name: bytes) -> None:
    assert name not in forwarded([(name, b"/admin")])


def test_added_fields_replace_those_of_the_client() -> None:
    both = to_backend([(b"x-team", b"evil"), (b"x_team", b"evil")], [(b"x-team", b"crm")], OWN, keep_credential=False)
    assert both == [(b"x-team", b"crm")]


def test_the_callers_credential_is_forwarded_only_if_configured() -> None:
    fields: Headers = [(b"authorization", b"Bearer t"), (b"x-api-key", b"k")]
    assert forwarded(fields) == {}
    assert set(forwarded(fields, keep_credential=True)) == {b"authorization"}


def test_the_gateways_own_cookies_are_removed() -> None:
    assert OWN.strip(b"a=1; gateway_session=s; b=2") == b"a=1; b=2"
    assert b"cookie" not in forwarded([(b"cookie", b"gateway_session=s")])


def test_a_valid_traceparent_is_forwarded_and_an_invalid_one_dropped() -> None:
    good = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-00"
    assert forwarded([(b"traceparent", good), (b"tracestate", b"a=b")]) == {b"traceparent": good, b"tracestate": b"a=b"}
    assert forwarded([(b"traceparent", b"00-bad"), (b"tracestate", b"a=b")]) == {}


def test_a_traced_call_leaves_out_the_clients_traceparent() -> None:
    fields: Headers = [(b"traceparent", TRACE), (b"tracestate", b"a=b")]
    assert to_backend(fields, [], OWN, keep_credential=False, traced=True) == [(b"tracestate", b"a=b")]


def test_a_backends_list_of_exposed_fields_is_kept() -> None:
    response: Headers = [
        (b"access-control-expose-headers", b"X-Total"),
        (b"access-control-allow-origin", b"https://evil.example"),
        (b"access-control-allow-credentials", b"true"),
    ]
    assert to_client(response, TARGET, PublicAddress(b"/api/v1/crm"), OWN, 200) == [
        (b"access-control-expose-headers", b"X-Total")
    ]


def test_a_backend_cannot_set_the_gateways_cookies_or_cors_fields() -> None:
    response: Headers = [
        (b"set-cookie", b"gateway_session=fixed; Path=/"),
        (b"set-cookie", b"theme=dark"),
        (b"set-cookie", b"lang=en"),
        (b"access-control-allow-origin", b"*"),
        (b"x-request-id", b"theirs"),
    ]
    assert to_client(response, TARGET, PublicAddress(b"/api/v1/crm"), OWN, 200) == [
        (b"set-cookie", b"theme=dark"),
        (b"set-cookie", b"lang=en"),
    ]


def test_several_cookie_fields_become_one() -> None:
    sent = [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"gateway_session=s"), (b"cookie", b"b=2; c=3")]
    assert forwarded(sent)[b"cookie"] == b"a=1; b=2; c=3"  # RFC 9113 section 8.2.3


@pytest.mark.parametrize("listed", [b"x-lang", b"x_lang"])
def test_connection_ends_a_field_in_every_spelling(listed: bytes) -> None:
    assert forwarded([(b"connection", listed), (b"x-lang", b"1"), (b"x_lang", b"2")]) == {}


@pytest.mark.parametrize("name", [b"x-secret", b"x_secret"])
def test_a_client_cannot_set_a_configured_field_in_any_spelling(name: bytes) -> None:
    for sent in (b"x-secret", b"x_secret"):
        assert forwarded([(sent, b"forged")], added=[(name, b"ours")]) == {name: b"ours"}


def test_connection_does_not_end_what_is_for_all_recipients() -> None:
    headers = [
        (b"connection", b"cache-control, Vary, set-cookie, x-hop"),
        (b"cache-control", b"private"),
        (b"vary", b"x-lang"),
        (b"set-cookie", b"a=1"),
        (b"x-hop", b"1"),
    ]
    kept = to_client(headers, "http://127.0.0.1", PublicAddress(b""), OWN, 200)
    assert [name for name, _ in kept] == [b"cache-control", b"vary", b"set-cookie"]  # RFC 9110 section 7.6.1


@pytest.mark.parametrize(
    ("value", "selected"),
    [
        (b"lang=de; x=1", b"lang=de"),
        (b'x="a, b"; lang=de;y=c=d', b"lang=de"),
        (b"lang=de; x=lang=fr; lang=en", b"lang=de; lang=en"),
        (b'x={"lang":1}; lang="de"', b'lang="de"'),
        (b"x=1", b""),
        (b"x=1, lang=de", None),  # Python's SimpleCookie, RFC 2965
        (b"x=1 lang=de", None),
        (b'x="; lang=de; y="', None),
        (b"lang", None),
        (b"Lang=de", None),
        (b"lang[]=de", None),  # PHP
    ],
)
def test_cookies_are_selected_unless_a_backend_could_read_others(value: bytes, selected: bytes | None) -> None:
    assert selected_cookies(value, frozenset({b"lang"})) == (value if selected is None else selected)
    assert selected_cookies(value, frozenset()) == b""
