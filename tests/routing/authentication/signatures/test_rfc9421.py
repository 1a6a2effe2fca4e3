"""The test vectors of RFC 9421, appendix B and section 2, and of RFC 9530."""

from base64 import b64decode

import msgspec
import pytest

from routing.authentication.signatures.algorithms import SignatureAlgorithm, verifier
from routing.authentication.signatures.components import ComponentError, SignedRequest, signature_base
from routing.authentication.signatures.content_digest import ContentDigest
from routing.authentication.signatures.keys import SigningKey, SigningKeys
from routing.authentication.signatures.policy import NonceRule, SignaturePolicy
from routing.authentication.signatures.verification import verify
from routing.structured_fields import InnerList, parse_list
from tests.processor_time import ratio
from tests.routing.authentication.signatures.rfc9421 import (
    BODY,
    CLIENT_CERT,
    CREATED,
    DIGEST,
    P256,
    PROXY,
    RESPONSE,
    RSA,
    RSA_PSS,
    VECTORS,
    Vector,
)

REQUEST = SignedRequest(
    "POST",
    "https",
    "example.com",
    b"/foo",
    b"param=Value&Pet=dog",
    [
        (b"host", b"example.com"),
        (b"date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
        (b"content-type", b"application/json"),
        (b"content-digest", DIGEST.encode()),
        (b"content-length", b"18"),
    ],
)
PROXIED = REQUEST._replace(
    authority="service.internal.example", headers=[*REQUEST.headers, (b"client-cert", f":{CLIENT_CERT}:".encode())]
)
MANY_MEMBERS = b", ".join(b"k%d=%d" % (number, number) for number in range(500))
LENIENT = SignaturePolicy(components=(), nonce=NonceRule.OPTIONAL)


def covered(text: str) -> InnerList:
    (member,) = parse_list(text)
    assert isinstance(member, InnerList)
    return member


def signed(request: SignedRequest, vector: Vector) -> SignedRequest:
    fields = [
        (b"signature-input", f"sig={vector.parameters}".encode()),
        (b"signature", f"sig=:{vector.signature}:".encode()),
    ]
    return request._replace(headers=[*request.headers, *fields])


def key_of(vector: Vector) -> SigningKeys:
    keyid = str(covered(vector.parameters).parameters["keyid"])
    return SigningKeys([SigningKey(keyid=keyid, algorithm=vector.algorithm, material=vector.key, consumer=1)])


@pytest.mark.parametrize("vector", [*VECTORS, PROXY], ids=lambda vector: vector.name)
def test_the_signatures_of_appendix_b_are_valid(vector: Vector) -> None:
    request = PROXIED if vector is PROXY else REQUEST
    base = signature_base(request, covered(vector.parameters))
    assert base.decode() == "\n".join([*vector.base, f'"@signature-params": {vector.parameters}'])
    proof = verify(signed(request, vector), key_of(vector), LENIENT, has_content=True, now=CREATED + 60)
    assert proof.key.consumer == 1
    with pytest.raises(Exception, match="does not match"):
        verify(
            signed(request._replace(method="PUT", authority="example.org"), vector)
            if vector.base
            else signed(request, vector._replace(signature="AAAA" + vector.signature[4:])),
            key_of(vector),
            LENIENT,
            has_content=True,
            now=CREATED + 60,
        )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_base64_may_lack_its_padding(vector: Vector) -> None:
    """RFC 9651 section 4.2.7: parsers should not fail."""
    bare = signed(REQUEST, vector._replace(signature=vector.signature.rstrip("=")))
    verify(bare, key_of(vector), LENIENT, has_content=True, now=CREATED + 60)
    with pytest.raises(Exception, match="not base64"):
        verify(
            signed(REQUEST, vector._replace(signature="A")), key_of(vector), LENIENT, has_content=True, now=CREATED + 60
        )


def test_the_signature_of_the_response_in_appendix_b_is_valid() -> None:
    base = "\n".join([*RESPONSE.base, f'"@signature-params": {RESPONSE.parameters}']).encode()
    verifies = verifier(RESPONSE.algorithm, RESPONSE.key)
    assert verifies(b64decode(RESPONSE.signature), base)
    assert not verifies(b64decode(RESPONSE.signature), base + b" ")
    assert not verifies(b64decode(RESPONSE.signature)[:-1], base)
    with pytest.raises(ComponentError, match="@status is not a component of a request"):
        signature_base(REQUEST, covered(RESPONSE.parameters))


def test_the_digest_of_appendix_b_is_that_of_its_content() -> None:
    digest = ContentDigest.of(REQUEST.headers)
    digest._hashes["sha512"].update(BODY)
    digest.check()


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ('"@method"', "POST"),
        ('"@target-uri"', "https://www.example.com/path?param=value"),
        ('"@authority"', "www.example.com"),
        ('"@scheme"', "https"),
        ('"@request-target"', "/path?param=value"),
        ('"@path"', "/path"),
        ('"@query"', "?param=value"),
        ('"@query-param";name="param"', "value"),
        ('"x-ows-header"', "Leading and trailing whitespace."),
        ('"cache-control"', "max-age=60, must-revalidate"),
        ('"x-empty-header"', ""),
        ('"example-dict"', "a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
        ('"example-dict";sf', "a=1, b=2;x=1;y=2, c=(a b c)"),
        ('"example-dict";key="a"', "1"),
        ('"example-dict";key="b"', "2;x=1;y=2"),
        ('"example-dict";key="c"', "(a b c)"),
        ('"example-header";bs', ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"),
        ('"example-header"', "value, with, lots, of, commas"),
    ],
)
def test_components_have_the_values_of_section_2(component: str, expected: str) -> None:
    request = SignedRequest(
        "POST",
        "https",
        "www.Example.com:443",
        b"/path",
        b"param=value",
        [
            (b"x-ows-header", b"  Leading and trailing whitespace.  "),
            (b"cache-control", b"max-age=60"),
            (b"x-empty-header", b""),
            (b"cache-control", b"   must-revalidate"),
            (b"example-dict", b"a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            (b"example-header", b"value, with, lots"),
            (b"example-header", b"of, commas"),
        ],
    )
    line = signature_base(request, covered(f"({component})")).split(b"\n")[0].decode()
    assert line == f"{component}: {expected}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("var", "this%20is%20a%20big%0Amultiline%20value"),
        ("bar", "with%20plus%20whitespace"),
        ("fa%C3%A7ade%22%3A%20", "something"),
        ("empty", ""),
    ],
)
def test_parameters_of_the_query_are_decoded_and_encoded_again(name: str, expected: str) -> None:
    query = b"var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&empty"
    request = REQUEST._replace(query=query)
    line = signature_base(request, covered(f'("@query-param";name="{name}")')).split(b"\n")[0].decode()
    assert line == f'"@query-param";name="{name}": {expected}'


def test_parameters_of_the_query_that_are_not_encoded_are_read_as_utf8() -> None:
    request = REQUEST._replace(query="stra\u00dfe=Gr\u00fcne%20Au&q=\u2713".encode())
    found = signature_base(request, covered('("@query-param";name="stra%C3%9Fe" "@query-param";name="q")'))
    assert [line.partition(b": ")[2] for line in found.split(b"\n")[:2]] == [b"Gr%C3%BCne%20Au", b"%E2%9C%93"]


@pytest.mark.parametrize(
    ("path", "query", "component", "expected"),
    [
        (b"", None, '"@path"', "/"),
        (b"/", None, '"@query"', "?"),
        (b"/", b"", '"@query"', "?"),
        (b"/a%2Fb", b"x=%20", '"@target-uri"', "https://example.com/a%2Fb?x=%20"),
        (b"/a", b"", '"@target-uri"', "https://example.com/a?"),
        (b"/a", None, '"@request-target"', "/a"),
    ],
)
def test_paths_and_queries_are_covered_as_they_were_sent(
    path: bytes, query: bytes | None, component: str, expected: str
) -> None:
    request = REQUEST._replace(path=path, query=query)
    assert signature_base(request, covered(f"({component})")).decode().split("\n")[0] == f"{component}: {expected}"


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ('("@method" "@method")', "twice"),
        ('("@status")', "not a component of a request"),
        ('("@unknown")', "not a component of a request"),
        ('("@method";req)', "not for the header of a request"),
        ('("date";tr)', "not for the header of a request"),
        ('("@method";x)', "no parameters"),
        ('("Date")', "lower case"),
        ('("da te")', "lower case"),
        ("(date)", "not a string"),
        ("(1)", "not a string"),
        ('("missing")', "no field missing"),
        ('("date";unknown)', "not supported"),
        ('("date";bs;sf)', "not supported"),
        ('("date";sf="x")', "has a value"),
        ('("date";key="a")', "not a dictionary"),
        ('("date";key=a)', "not a string"),
        ('("content-digest";key="md5")', "no member"),
        ('("date";sf)', "not a structured field"),
        ('("@query-param")', "needs the parameter name"),
        ('("@query-param";name=Pet)', "needs the parameter name"),
        ('("@query-param";name="Pet";x)', "needs the parameter name"),
        ('("@query-param";name="missing")', "has no parameter"),
    ],
)
def test_components_that_cannot_be_determined_are_refused(components: str, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        signature_base(REQUEST, covered(components))


def test_a_repeated_parameter_of_the_query_is_refused() -> None:
    with pytest.raises(ComponentError, match="repeats"):
        signature_base(REQUEST._replace(query=b"Pet=a&Pet=b"), covered('("@query-param";name="Pet")'))
    many = b"&".join([b"a=1"] * 1_001)
    with pytest.raises(ComponentError, match="too many"):
        signature_base(REQUEST._replace(query=many), covered('("@query-param";name="Pet")'))


def test_a_field_that_can_be_of_two_kinds_is_refused_where_these_differ() -> None:
    request = REQUEST._replace(headers=[(b"a", b"x, y"), (b"b", b"x, x"), (b"c", b"(1  2)")])
    assert signature_base(request, covered('("a";sf)')).startswith(b'"a";sf: x, y\n')
    assert signature_base(request, covered('("c";sf)')).startswith(b'"c";sf: (1 2)\n')
    with pytest.raises(ComponentError, match="not of one kind"):
        signature_base(request, covered('("b";sf)'))


@pytest.mark.parametrize(
    ("algorithm", "material", "message"),
    [
        (SignatureAlgorithm.ED25519, P256, "needs an Ed25519 key"),
        (SignatureAlgorithm.ECDSA_P256_SHA256, RSA, "needs an elliptic curve"),
        (SignatureAlgorithm.RSA_PSS_SHA512, P256, "needs an RSA key"),
        (SignatureAlgorithm.RSA_V1_5_SHA256, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PEM"),
        (SignatureAlgorithm.ED25519, "x" * 9_000, "too long"),
        (SignatureAlgorithm.HMAC_SHA256, "short", "32 to 1024 bytes"),
        (SignatureAlgorithm.HMAC_SHA256, "base64:%%%%", "not base64"),
    ],
)
def test_a_key_is_for_its_algorithm_only(algorithm: SignatureAlgorithm, material: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verifier(algorithm, material)


def test_a_public_key_is_not_accepted_as_a_secret() -> None:
    """The confusion of algorithms: the public key as the secret of an HMAC."""
    import hmac
    from base64 import b64encode

    parameters = f'("@method");created={CREATED};keyid="test-key-rsa-pss";alg="hmac-sha256"'
    base = signature_base(REQUEST, covered(parameters))
    forged = b64encode(hmac.digest(RSA_PSS.encode(), base, "sha256")).decode()
    vector = VECTORS[0]._replace(parameters=parameters, signature=forged)
    with pytest.raises(Exception, match="algorithm is not that of its key"):
        verify(signed(REQUEST, vector), key_of(vector), LENIENT, has_content=True, now=CREATED)
    vector = vector._replace(parameters=parameters.replace(';alg="hmac-sha256"', ""))
    with pytest.raises(Exception, match="does not match"):
        verify(signed(REQUEST, vector), key_of(vector), LENIENT, has_content=True, now=CREATED)


def test_keys_do_not_show_their_material() -> None:
    (key,) = key_of(VECTORS[3]).keys
    assert "uzvJ" not in repr(key)
    assert msgspec.structs.replace(key) == key


def test_a_field_of_which_many_members_are_covered_is_parsed_once() -> None:
    request = REQUEST._replace(headers=[(b"x-many", MANY_MEMBERS)])
    one = covered('("x-many";key="k0")')
    many = covered("({})".format(" ".join(f'"x-many";key="k{number}"' for number in range(64))))
    assert signature_base(request, many).count(b"\n") == 64
    assert ratio(lambda: signature_base(request, many), lambda: signature_base(request, one), 3) < 3


def test_a_query_of_which_many_parameters_are_covered_is_parsed_once() -> None:
    request = REQUEST._replace(query=b"&".join(b"q%d=%%41" % number for number in range(900)))
    one = covered('("@query-param";name="q0")')
    many = covered("({})".format(" ".join(f'"@query-param";name="q{number}"' for number in range(64))))
    assert signature_base(request, many).count(b": A\n") == 64
    assert ratio(lambda: signature_base(request, many), lambda: signature_base(request, one), 3) < 3


@pytest.mark.parametrize("parameter", ["sf", 'key="k0"'])
def test_what_is_parsed_for_a_signature_is_bounded(parameter: str) -> None:
    fields = [(b"x-%d" % number, MANY_MEMBERS) for number in range(3)]
    request, names = REQUEST._replace(headers=fields), ('"x-0"', '"x-1"', '"x-2"')
    assert signature_base(request, covered(f'("x-0";{parameter} "x-1" "x-2")'))
    with pytest.raises(ComponentError, match="too long to be read as a structured field"):
        signature_base(request, covered("({})".format(" ".join(f"{name};{parameter}" for name in names))))
