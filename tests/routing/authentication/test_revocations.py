"""Which tokens a revocation refuses, and until when."""

import pytest

from routing.authentication.revocations import Revocation, Revocations
from routing.caller import Caller, TokenIdentity

ISSUER, OTHER = "https://a.example", "https://b.example"
FIREBASE = "https://securetoken.google.com/project"


def caller(issuer: str = ISSUER, subject: str = "eve", number: int = 1) -> Caller:
    return Caller(f"jwt+x:{subject}", identity=TokenIdentity(issuer, subject, token_id=f"t{number}"))


CALLERS = {"a1": caller(), "a2": caller(number=2), "b1": caller(OTHER), "bob": caller(subject="bob", number=3)}


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (Revocation("", "eve", "", 10.0), {"a1", "a2", "b1"}),
        (Revocation(ISSUER, "eve", "", 10.0), {"a1", "a2"}),
        (Revocation(f"{ISSUER}/", "eve", "", 10.0), {"a1", "a2"}),
        (Revocation(ISSUER, "", "t1", 10.0), {"a1"}),
        (Revocation("", "", "t1", 10.0), {"a1", "b1"}),
        (Revocation(OTHER, "bob", "", 10.0), set()),
        (Revocation("", "eve", "", 5.0), set()),
    ],
)
def test_by_subject_or_token_of_one_issuer_or_all(record: Revocation, refused: set[str]) -> None:
    revocations = Revocations([record])
    assert {name for name, each in CALLERS.items() if revocations.revoke(each, 6.0)} == refused


def test_users_of_firebase_are_revoked_by_uid_and_keys_never() -> None:
    revocations = Revocations([Revocation(FIREBASE, "ada", "", 10.0), Revocation("", "bob", "", 10.0)])
    refused = {
        name
        for name in ("firebase:ada", "firebase+acme:ada", "firebase:bob", "firebase:eve", "key:ada")
        if revocations.revoke(Caller(name), 6.0)
    }
    assert refused == {"firebase:ada", "firebase+acme:ada", "firebase:bob"}
    assert not Revocations([Revocation(ISSUER, "ada", "", 10.0)]).revoke(Caller("firebase:ada"), 6.0)


def test_an_issuer_with_a_slash_at_its_end_is_found_without_it() -> None:
    assert Revocations([Revocation(ISSUER, "eve", "", 10.0)]).revoke(caller(f"{ISSUER}/"), 6.0)
