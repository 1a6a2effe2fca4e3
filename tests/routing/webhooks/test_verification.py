"""Each kind of verification against the providers' own libraries and published examples, and against forgeries."""

import hashlib
import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.http import Headers
from routing.webhooks.policy import Algorithm, Encoding, HmacForm, TokenForm, Verify, Webhook
from routing.webhooks.verification import Refused, SignedRequest, prepare, standard_secret
from tests.routing.webhooks import providers
from tests.routing.webhooks.providers import NOW, OF_BODIES, SECRET, SIGNERS, TIMED, URI, event, webhook

BODY = event()


def verify(hook: Webhook, headers: Headers, body: bytes = BODY, now: float = NOW, uri: bytes = URI) -> None:
    check = prepare(hook, SignedRequest("POST", uri, headers), now)
    if check is not None:
        check(body)


def reason(hook: Webhook, headers: Headers, body: bytes = BODY, now: float = NOW, uri: bytes = URI) -> str:
    with pytest.raises(Refused) as refused:
        verify(hook, headers, body, now, uri)
    return refused.value.reason


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_delivery_of_the_provider_is_accepted(kind: Verify) -> None:
    verify(webhook(kind), SIGNERS[kind](BODY))


def test_the_examples_that_providers_publish() -> None:
    headers = [
        (
            b"x-hub-signature-256",
            b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )
    ]
    verify(webhook(Verify.GITHUB, secrets=(b"It's a Secret to Everybody",)), headers, b"Hello, World!")

    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = [
        (b"x-slack-request-timestamp", b"1531420618"),
        (b"x-slack-signature", b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ]
    verify(webhook(Verify.SLACK, secrets=(b"8f742231b10e8888abcd99yyyzzz85a5",)), headers, body, 1_531_420_700.0)

    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    key = standard_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    verify(webhook(Verify.STANDARD, secrets=(key,)), headers, b'{"test": 2432232314}', 1_614_265_330.0)


def test_a_standard_delivery_may_have_svixs_fields() -> None:
    standard = SIGNERS[Verify.STANDARD](BODY)
    svix = [(name.replace(b"webhook", b"svix"), value) for name, value in standard]
    verify(webhook(Verify.STANDARD), svix)
    assert reason(webhook(Verify.STANDARD), svix, BODY + b" ") == "bad_signature"
    assert reason(webhook(Verify.STANDARD), svix, now=NOW + 301) == "bad_time"
    for index in range(len(svix)):
        assert reason(webhook(Verify.STANDARD), svix[:index] + svix[index + 1 :]) == "missing_field"
    # The id of one form, which would be the delivery's, beside the signature of the other.
    assert reason(webhook(Verify.STANDARD), [*svix, (b"webhook-id", b"msg_3")]) == "missing_field"


@pytest.mark.parametrize("kind", OF_BODIES)
def test_a_changed_byte_is_refused(kind: Verify) -> None:
    headers = SIGNERS[kind](BODY)
    for changed in (BODY + b" ", BODY[:-1], BODY.replace(b"C1", b"C2"), b""):
        assert reason(webhook(kind), headers, changed) == "bad_signature"


@pytest.mark.parametrize("kind", SIGNERS)
def test_another_secret_is_refused_and_one_of_two_is_accepted(kind: Verify) -> None:
    headers = SIGNERS[kind](BODY)
    assert reason(webhook(kind, secrets=(b"another secret",)), headers) == "bad_signature"
    own = webhook(kind).secrets[0]
    verify(webhook(kind, secrets=(b"the next secret", own)), headers)
    verify(webhook(kind, secrets=(own, b"the next secret")), headers)


@pytest.mark.parametrize("kind", [*SIGNERS, Verify.GOOGLE_PUBSUB])
@pytest.mark.parametrize("secrets", [(), (b"",), (b"", b"another secret")])
def test_an_empty_secret_verifies_nothing(kind: Verify, secrets: tuple[bytes, ...]) -> None:
    if kind is Verify.GOOGLE_PUBSUB:
        return
    digest = hmac.new(b"", BODY, hashlib.sha256).hexdigest().encode()
    headers = [*SIGNERS[kind](BODY), (b"x-signature", digest)]
    assert reason(webhook(kind, secrets=secrets), headers) == "no_secret"


@pytest.mark.parametrize("kind", TIMED)
@pytest.mark.parametrize("offset", [-301, 301, -3_600, 86_400, -1e9])
def test_an_old_or_future_time_is_refused(kind: Verify, offset: float) -> None:
    assert reason(webhook(kind), SIGNERS[kind](BODY, NOW + offset)) == "bad_time"


@pytest.mark.parametrize("kind", TIMED)
@pytest.mark.parametrize("offset", [-299, 299, 0])
def test_a_clock_that_differs_a_little_is_accepted(kind: Verify, offset: float) -> None:
    verify(webhook(kind), SIGNERS[kind](BODY, NOW + offset))


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_missing_or_repeated_field_is_refused(kind: Verify) -> None:
    headers = SIGNERS[kind](BODY)
    for index, (name, value) in enumerate(headers):
        if name == b"x-github-delivery":
            continue
        assert reason(webhook(kind), headers[:index] + headers[index + 1 :]) == "missing_field"
        assert reason(webhook(kind), [*headers[:index], (name, b""), *headers[index + 1 :]]) == "missing_field"
        assert reason(webhook(kind), [*headers, (name, value)]) == "repeated_field"
        assert reason(webhook(kind), [(name, b"0"), *headers]) == "repeated_field"


@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"v0=", "sha256=é".encode(), b"t=,v1=", b",", b" ", b"v1,", b"=" * 9_000]
)
def test_a_malformed_field_is_refused(kind: Verify, value: bytes) -> None:
    headers = SIGNERS[kind](BODY)
    for index, (name, _) in enumerate(headers):
        if name in (b"x-github-delivery", b"x-goog-resource-state", b"x-goog-message-number", b"x-goog-channel-id"):
            continue
        reason(webhook(kind), [*headers[:index], (name, value), *headers[index + 1 :]])


@pytest.mark.parametrize("time", [b"NaN", b"-1", b"1e9", b" 1767000000", b"1767000000.0", b"9" * 400, b"\xd9\xa1"])
def test_a_time_that_is_no_number_is_refused(time: bytes) -> None:
    signature = hmac.new(SECRET.encode(), b"v0:%b:%b" % (time, BODY), hashlib.sha256).hexdigest()
    headers = [(b"x-slack-request-timestamp", time), (b"x-slack-signature", b"v0=" + signature.encode())]
    assert reason(webhook(Verify.SLACK), headers) == "malformed_field"


def test_stripe_signs_one_time() -> None:
    (name, value), *_ = providers.stripe_(BODY)
    assert reason(webhook(Verify.STRIPE), [(name, b"t=%d,%b" % (NOW, value))]) == "malformed_field"
    many = b"t=%d," % NOW + b",".join([b"v1=" + b"0" * 64] * 50) + b",v1=" + value.split(b"v1=")[2][:64]
    assert reason(webhook(Verify.STRIPE), [(name, many)]) == "bad_signature"


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        (b"https://g.example.com/hooks/h?a=%2Fx%3A%40", b"https://g.example.com/hooks/h?a=/x:@"),
        (b"https://g.example.com/hooks/h?a=%2fx", b"https://g.example.com/hooks/h?a=/x"),
        (b"https://g.example.com/hooks/h?a=%20b%25", b"https://g.example.com/hooks/h?a=%20b%25"),
        (b"https://g.example.com/hooks/h?a=%2Fx", b"https://g.example.com/hooks/h?a=%2Fx"),
    ],
)
def test_hubspot_decodes_some_escapes_of_the_uri(called: bytes, signed: bytes) -> None:
    verify(webhook(Verify.HUBSPOT_V3), providers.hubspot(BODY, uri=signed), uri=called)


@pytest.mark.parametrize(
    "called", [b"http://gateway.example.com/hooks/hubspot?team=%2Fa%40b", b"https://gateway.example.com/hooks/other"]
)
def test_hubspot_signs_the_whole_uri(called: bytes) -> None:
    assert reason(webhook(Verify.HUBSPOT_V3), providers.hubspot(BODY), uri=called) == "bad_signature"


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("encoding", Encoding)
def test_a_generic_hmac_in_every_form(algorithm: Algorithm, encoding: Encoding) -> None:
    form = HmacForm(
        header="x-shop-hmac",
        algorithm=algorithm,
        encoding=encoding,
        prefix="sig=",
        timestamp_header="x-shop-time",
        template="v2.{timestamp}.{body}",
    )
    hook = webhook(Verify.HMAC, hmac=form)
    for time in (int(NOW), int(NOW * 1_000)):
        digest = hmac.new(SECRET.encode(), b"v2.%d.%b" % (time, BODY), algorithm.value).digest()
        text = digest.hex().upper().encode() if encoding is Encoding.HEX else b64encode(digest)
        headers = [(b"x-shop-hmac", b"sig=" + text), (b"x-shop-time", b"%d" % time)]
        verify(hook, headers)
        assert reason(hook, headers, now=NOW + 301) == "bad_time"
        assert reason(hook, [(b"x-shop-hmac", text), headers[1]]) == "malformed_field"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (b"2025-12-29T09:20:00Z", ""),
        (b"2025-12-29T10:20:00.250+01:00", ""),
        (b"2025-12-29T09:20:00", "malformed_field"),
        (b"2025-12-29", "malformed_field"),
        (b"Mon, 29 Dec 2025 09:20:00 GMT", "malformed_field"),
        (b"2025-12-29T09:20:00\xff", "malformed_field"),
        (b"2025-12-29T09:10:00Z", "bad_time"),
        (b"0001-01-01T00:00:00+23:59", "bad_time"),
        (b"9999-12-31T23:59:59-23:59", "bad_time"),
    ],
)
def test_a_generic_hmac_may_sign_a_written_time(time: bytes, expected: str) -> None:
    form = HmacForm(header="x-sig", encoding=Encoding.BASE64, timestamp_header="x-at", template="{timestamp}{body}")
    hook = webhook(Verify.HMAC, hmac=form)
    digest = b64encode(hmac.new(SECRET.encode(), time + BODY, "sha256").digest())
    headers = [(b"x-sig", digest), (b"x-at", time)]
    if expected:
        assert reason(hook, headers) == expected
    else:
        verify(hook, headers)


def test_a_shared_token_may_be_a_bearer() -> None:
    hook = webhook(Verify.SHARED_TOKEN, token=TokenForm(header="authorization", prefix="Bearer "))
    verify(hook, [(b"authorization", b"Bearer " + SECRET.encode())])
    assert reason(hook, [(b"authorization", SECRET.encode())]) == "malformed_field"
    assert reason(hook, [(b"authorization", b"Bearer ")]) == "bad_signature"


@given(st.sampled_from(OF_BODIES), st.binary(max_size=200), st.binary(min_size=1, max_size=80))
def test_no_signature_but_the_right_one_is_accepted(kind: Verify, body: bytes, forged: bytes) -> None:
    headers = [(name, forged if b"signature" in name else value) for name, value in SIGNERS[kind](BODY)]
    with pytest.raises(Refused):
        verify(webhook(kind), headers, body)


def test_a_webhook_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(webhook(Verify.SLACK))
