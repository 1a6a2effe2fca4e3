"""Signing keys and certificates of consumers in the database: the commands, the admin, the loader and the file."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from routing.authentication.signatures import keys
from routing.configuration.document import parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.identities import parse_identity
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerTable
from routing.credentials.cipher import Cipher
from routing.credentials.signing_keys import issue, revoke, rotate
from routing.database.apply import apply_document
from routing.database.loader import current_version, load, whole_document
from routing.management.commands import signingkey
from routing.models import Consumer, ConsumerIdentity, Service, SigningKey
from tests.routing.pages import browser_form
from tests.signing import SECRET, Signer

pytestmark = pytest.mark.django_db(transaction=True)
CIPHER = Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key)
ENVIRONMENT = {"GATEWAY_SECRET_ACME": SECRET}


@pytest.fixture
def acme() -> Consumer:
    return Consumer.objects.create(name="acme")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signingkey, "_SETTLE_SECONDS", 0)


def loaded() -> dict[str, list[keys.SigningKey]]:
    found: dict[str, list[keys.SigningKey]] = {}
    for key in load(ENVIRONMENT.get, unseal=CIPHER.decrypt).table.signing_keys.keys:
        found.setdefault(key.keyid, []).append(key)
    return found


def run(*words: str) -> list[str]:
    out = StringIO()
    call_command("signingkey", *words, stdout=out)
    return out.getvalue().splitlines()


def test_a_public_key(acme: Consumer, tmp_path: Path) -> None:
    signer, version = Signer(), current_version()
    file = tmp_path / "key.pem"
    file.write_text(signer.public_key)
    Service.objects.create(name="crm")
    arguments = ["create", "acme-1", "--consumer", "acme", "--algorithm", "ed25519", "--public-key", str(file)]
    assert run(*arguments, "--scope", "crm", "--expires", "90d") == ["Created acme-1 of acme."]
    (key,) = loaded()["acme-1"]
    assert (key.consumer, key.scopes) == (acme.pk, frozenset({"crm"}))
    assert key.until is not None
    assert key.verifies(signer.sign_base(b"base"), b"base")
    assert current_version() > version
    with pytest.raises(CommandError, match="already exists"):
        run(*arguments)
    with pytest.raises(CommandError, match="needs an elliptic curve"):
        run(*arguments[:5], "ecdsa-p256-sha256", *arguments[6:])
    with pytest.raises(CommandError, match="unknown scope"):
        run(*arguments, "--scope", "nothing")
    with pytest.raises(CommandError, match="there is no consumer"):
        run("create", "x", "--consumer", "nobody", "--algorithm", "ed25519")
    with pytest.raises(CommandError, match="public key in PEM"):
        run("create", "x", "--consumer", "acme", "--algorithm", "ed25519")
    with pytest.raises(CommandError, match="cannot be read"):
        run("create", "x", "--consumer", "acme", "--algorithm", "ed25519", "--public-key", "/nowhere")


def test_a_secret_is_shown_once_and_encrypted(acme: Consumer) -> None:
    *_, secret = run("create", "acme-hmac", "--consumer", "acme", "--algorithm", "hmac-sha256")
    (row,) = SigningKey.objects.all()
    assert secret not in row.secret
    (key,) = loaded()["acme-hmac"]
    assert key.material == secret
    assert secret not in "".join(run("list") + run("list", "--json"))
    assert json.loads("".join(run("list", "--json")))[0]["state"] == "active"
    assert load(ENVIRONMENT.get).faults == (
        "signing key acme-hmac cannot be used: none of CREDENTIAL_KEYS decrypts its secret",
    )
    SigningKey.objects.filter(pk=row.pk).update(keyid="stolen")
    assert "stolen" not in loaded(), "a ciphertext belongs to one key"


def test_secrets_are_encrypted_again_with_the_others(acme: Consumer) -> None:
    *_, secret = run("create", "acme-hmac", "--consumer", "acme", "--algorithm", "hmac-sha256")
    before = SigningKey.objects.get().secret
    call_command("credentials", "rotate", stdout=StringIO())
    assert SigningKey.objects.get().secret != before
    assert loaded()["acme-hmac"][0].material == secret
    SigningKey.objects.update(secret="lost")
    with pytest.raises(CommandError, match="1 tokens could not be decrypted"):
        call_command("credentials", "rotate", stdout=StringIO(), stderr=StringIO())


def test_a_reference_stays_outside_of_the_database(acme: Consumer) -> None:
    run("create", "a", "--consumer", "acme", "--algorithm", "hmac-sha256", "--secret", "env:GATEWAY_SECRET_ACME")
    assert SigningKey.objects.get().secret == "env:GATEWAY_SECRET_ACME"
    assert loaded()["a"][0].material == SECRET
    for given in ("a literal secret of enough bytes, as it is", "Bearer env:GATEWAY_SECRET_ACME"):
        with pytest.raises(CommandError, match="env:NAME"):
            run("create", "b", "--consumer", "acme", "--algorithm", "hmac-sha256", "--secret", given)
    ENVIRONMENT["GATEWAY_SECRET_SHORT"] = "short"
    run("create", "c", "--consumer", "acme", "--algorithm", "hmac-sha256", "--secret", "env:GATEWAY_SECRET_SHORT")
    run("create", "d", "--consumer", "acme", "--algorithm", "hmac-sha256", "--secret", "env:GATEWAY_SECRET_NONE")
    assert set(loaded()) == {"a"}, "what cannot be used harms no other key"


def test_a_rotation_leaves_both_for_the_grace(acme: Consumer, tmp_path: Path) -> None:
    *_, first = run("create", "acme-hmac", "--consumer", "acme", "--algorithm", "hmac-sha256")
    *_, second = run("rotate", "acme-hmac", "--grace", "24h")
    assert [key.material for key in loaded()["acme-hmac"]] == [first, second]
    assert [key.until is None for key in loaded()["acme-hmac"]] == [False, True]
    *_, third = run("rotate", "acme-hmac", "--grace", "0")
    assert [key.material for key in loaded()["acme-hmac"]] == [third], "without a grace, all earlier ones end"
    assert run("revoke", "acme-hmac") == ["revoked acme-hmac"]
    assert loaded() == {}
    for words in (["revoke", "acme-hmac"], ["rotate", "acme-hmac"]):
        with pytest.raises(CommandError, match="no active key"):
            run(*words)
    signer = Signer("acme-1")
    key = SigningKey(keyid="acme-1", consumer=acme, algorithm="ed25519", public_key=signer.public_key)
    issue(key, CIPHER)
    with pytest.raises(ValidationError):
        rotate(key, CIPHER, timedelta(hours=1))
    assert len(loaded()["acme-1"]) == 1, "nothing has changed"
    with pytest.raises(ValueError, match="from 0 to 90"):
        rotate(key, CIPHER, timedelta(days=91))
    assert revoke("acme-1") == 1


def test_a_consumer_takes_its_keys_along(acme: Consumer) -> None:
    issue(SigningKey(keyid="a", consumer=acme, algorithm="hmac-sha256"), CIPHER)
    acme.delete()
    assert SigningKey.objects.count() == 0


def test_a_key_that_has_expired_is_not_loaded(acme: Consumer) -> None:
    issue(
        SigningKey(keyid="a", consumer=acme, algorithm="hmac-sha256", expires_at=timezone.now() - timedelta(seconds=1)),
        CIPHER,
    )
    assert loaded() == {}
    assert run("list")[0].split("\t")[1] == "expired"


@pytest.mark.parametrize("keyid", ["", "a b", 'a"b', "-a", "a:b", "x" * 101])
def test_key_ids_fit_into_a_signature_and_a_callers_id(acme: Consumer, keyid: str) -> None:
    with pytest.raises(ValidationError):
        issue(SigningKey(keyid=keyid, consumer=acme, algorithm="hmac-sha256"), CIPHER)


KEYS = "/admin/routing/signingkey/"


def add(root: Client, acme: Consumer, **fields: Any) -> str:
    posted = {"keyid": "acme-1", "consumer": acme.pk, "algorithm": "hmac-sha256", "public_key": "", **fields}
    return root.post(f"{KEYS}add/", posted, follow=True).content.decode()


def test_the_admin_issues_rotates_and_revokes(root: Client, acme: Consumer) -> None:
    page = add(root, acme)
    assert loaded()["acme-1"][0].material in page
    (row,) = SigningKey.objects.all()
    assert row.created_by == "staff:root"
    assert loaded()["acme-1"][0].material not in root.get(f"{KEYS}{row.pk}/change/").content.decode()
    assert row.secret not in root.get(f"{KEYS}{row.pk}/change/").content.decode()
    action = {"action": "rotate_secrets", "_selected_action": [row.pk]}
    page = root.post(KEYS, action, follow=True).content.decode()
    assert loaded()["acme-1"][1].material in page
    assert "the key is replaced" in root.post(KEYS, action, follow=True).content.decode()
    root.post(KEYS, {**action, "action": "revoke_keys"})
    assert loaded() == {}


def test_the_admin_accepts_no_new_unknown_scope(root: Client, acme: Consumer) -> None:
    """As the command; a key that has one already keeps it."""
    assert "unknown scope &#x27;nope&#x27;" in add(root, acme, scopes_0="debug\nnope", scopes_1="")
    assert SigningKey.objects.count() == 0
    add(root, acme)
    SigningKey.objects.update(scopes=["gone"])
    url = f"{KEYS}{SigningKey.objects.get().pk}/change/"
    form = browser_form(root.get(url))
    root.post(url, {**form, "scopes_0": "gone\ndebug"})
    assert SigningKey.objects.get().scopes == ["gone", "debug"]


def test_the_admin_accepts_no_literal_secret(root: Client, acme: Consumer) -> None:
    assert "not the secret itself" in add(root, acme, secret_reference="a literal secret of enough bytes, as it is")
    assert "not allowed" in add(root, acme, secret_reference="env:SECRET_KEY")
    assert "has a public key" in add(root, acme, algorithm="ed25519", secret_reference="env:GATEWAY_SECRET_ACME")
    assert "public key in PEM" in add(root, acme, algorithm="ed25519", public_key="x")
    assert SigningKey.objects.count() == 0
    add(root, acme, secret_reference="env:GATEWAY_SECRET_ACME")
    assert SigningKey.objects.get().secret == "env:GATEWAY_SECRET_ACME"
    add(root, acme, keyid="acme-2", algorithm="ed25519", public_key=Signer().public_key)
    row = SigningKey.objects.get(keyid="acme-2")
    page = root.post(KEYS, {"action": "rotate_secrets", "_selected_action": [row.pk]}, follow=True).content.decode()
    assert "signingkey rotate acme-2 --public-key" in page


CERTIFIED: dict[str, Any] = {
    "version": 1,
    "services": {},
    "consumers": {
        "acme": {
            "identities": [
                {"certificate": "uri:spiffe://acme/web", "scopes": ["crm"]},
                {"certificate": "dns:web.acme.test"},
                {"issuer": "https://id.example.com", "subject": "a1"},
            ]
        }
    },
}


def test_certificates_of_consumers_are_the_same_in_the_file_and_in_the_rows() -> None:
    apply_document(CERTIFIED)
    exported = whole_document()
    assert not apply_document(exported)
    loaded_data = load(ENVIRONMENT.get)
    assert loaded_data.faults == ()
    found = ConsumerTable(loaded_data.consumers)
    uri = UserBinding(issuer="certificate", subject="uri:spiffe://acme/web")
    dns = UserBinding(issuer="certificate", subject="dns:web.acme.test")
    assert found.by_identity([uri]) == found.by_identity([dns]) == found.by_name("acme")
    assert (found.scopes_of(uri), found.scopes_of(dns)) == (frozenset({"crm"}), None)
    exported["consumers"]["acme"]["identities"] = [{"certificate": "uri:spiffe://acme/web", "scopes": ["crm", "erp"]}]
    assert apply_document(exported).updated == ("consumer acme",)
    assert ConsumerTable(load(ENVIRONMENT.get).consumers).scopes_of(uri) == frozenset({"crm", "erp"})
    other = {**CERTIFIED, "consumers": {"bob": {"identities": [{"certificate": "uri:spiffe://acme/web"}]}}}
    with pytest.raises(ConfigurationError, match="already an identity of acme"):
        apply_document(other, delete=())


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ("{certificate: web}", "is not sha256:HEX, uri:URI"),
        ("{certificate: 'sha256:AB'}", "is not sha256:HEX, uri:URI"),
        ("{certificate: 'dns:A.test'}", "is not sha256:HEX, uri:URI"),
        ("{certificate: 'uri:spiffe'}", "is not sha256:HEX, uri:URI"),
        ("{certificate: '*', issuer: 'https://id.example.com'}", "not both"),
        ("{issuer: certificate, subject: '*'}", "for 'certificate' only"),
        ("{certificate: 'subject:O = Shop, CN = web'}", "write the subject as CN=web,O=Shop"),
        ("{certificate: 'subject:/O=Shop/CN=web'}", "write the subject as CN=web,O=Shop"),
        ("{certificate: 'subject:CN=web, O=Shop'}", "write the subject as CN=web,O=Shop"),
        ("{issuer: 'https://id.example.com', subject: a, scopes: [crm]}", "for 'certificate' only"),
        ("{certificate: '*', scopes: ['a b']}", "is not a scope"),
        ("{}", "needs 'issuer' or 'certificate'"),
    ],
)
def test_faults_of_certificates(identity: str, message: str) -> None:
    text = f"version: 1\nservices: {{}}\nconsumers: {{acme: {{identities: [{identity}]}}}}"
    with pytest.raises(ConfigurationError, match=message):
        apply_document(parse(text).structure)


def test_a_comma_in_a_name_is_no_separator() -> None:
    subject = r"subject:CN=web,O=Acme\, Inc"
    assert parse_identity({"certificate": subject}).subject == subject


def test_the_form_of_a_certificate_has_the_same_rules(acme: Consumer) -> None:
    ConsumerIdentity(consumer=acme, issuer="certificate", subject="*", scopes=["crm"]).full_clean()
    for fields, field in (({"subject": "web"}, "subject"), ({"subject": "*", "scopes": "crm"}, "scopes")):
        with pytest.raises(ValidationError) as caught:
            ConsumerIdentity(consumer=acme, issuer="certificate", **fields).full_clean()
        assert field in caught.value.message_dict


def test_an_invalid_signature_section_is_refused_with_the_reason() -> None:
    def faults(section: str) -> str:
        text = f"version: 1\nservices: {{crm: {{targets: [{{url: 'http://a'}}], signature: {section}}}}}"
        try:
            apply_document(parse(text).structure)
        except ConfigurationError as error:
            return str(error.faults[0])
        return ""

    assert faults("{components: ['@method', date], max_age: 1m, leeway: 0, nonce: optional, tag: x}") == ""
    assert not apply_document(whole_document())
    assert "@query-param is not a component" in faults("{components: ['@query-param']}")
    assert "@status" in faults("{components: ['@status']}")
    assert "max_age must be" in faults("{max_age: 0}")
    assert "leeway must be" in faults("{leeway: 1h}")
    assert "required or optional" in faults("{nonce: none}")
    assert "without quotes" in faults("{tag: 'a\"b'}")
    assert "unknown key" in faults("{age: 1}")
