"""The demonstration's CRM as HubSpot's and Salesforce's APIs show it."""

import json
from collections.abc import Callable

import pytest
from hubspot.utils.signature import Signature

from tests.routing.demo.conftest import Call
from tests.routing.demo.receiver import Receiver

Settings = Callable[..., None]
CRM = "crm"
CONTACTS = "/crm/v3/objects/contacts"
QUERY = "/services/data/v60.0/query"


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings(CRM)


def test_contacts_are_listed_in_pages_with_quotas_and_a_cookie(call: Call) -> None:
    first = call(CRM, CONTACTS, params={"limit": "3"})
    rest = call(CRM, CONTACTS, params={"after": first.json()["paging"]["next"]["after"]})
    assert len(first.json()["results"]) == 3
    assert rest.json()["results"]
    remaining = [int(response.headers["X-HubSpot-RateLimit-Remaining"]) for response in (first, rest)]
    assert remaining[0] > remaining[1]
    assert "__cf_bm" in first.headers["Set-Cookie"]


def test_a_contact_that_is_created_and_changed_is_the_same_in_every_api(call: Call) -> None:
    created = call(CRM, CONTACTS, "POST", json={"properties": {"email": "new@x.example", "lastname": "New"}})
    key = created.json()["id"]
    changed = call(CRM, f"{CONTACTS}/{key}", "PATCH", json={"properties": {"company": "Acme"}})
    assert (created.status_code, changed.status_code) == (201, 200)
    assert call(CRM, f"/contacts/con_{key}").json()["company"] == "Acme"
    row = call(CRM, f"/services/data/v60.0/sobjects/Contact/003{int(key):015d}").json()
    assert (row["LastName"], row["Company__c"]) == ("New", "Acme")
    assert call(CRM, CONTACTS, "POST", json={"properties": {"email": "new@x.example"}}).status_code == 409
    assert call(CRM, f"{CONTACTS}/{key}", "DELETE").status_code == 204
    assert call(CRM, f"{CONTACTS}/{key}").json()["category"] == "OBJECT_NOT_FOUND"


def test_a_search_is_filtered_and_limited_by_the_second(call: Call, settings: Settings) -> None:
    filters = [{"propertyName": "company", "operator": "EQ", "value": "Contoso"}]
    wanted = {"filterGroups": [{"filters": filters}], "properties": ["company"]}
    responses = [call(CRM, f"{CONTACTS}/search", "POST", json=wanted) for _ in range(12)]
    assert responses[0].json()["results"][0]["properties"]["company"] == "Contoso"
    refused = [response for response in responses if response.status_code == 429]
    assert refused
    assert refused[0].json()["policyName"] == "SECONDLY"
    settings(CRM, limits=False)
    assert call(CRM, f"{CONTACTS}/search", "POST", json=wanted).status_code == 200


def test_a_batch_with_missing_contacts_is_a_207(call: Call) -> None:
    whole = call(CRM, f"{CONTACTS}/batch/read", "POST", json={"inputs": [{"id": "1042"}]})
    partial = call(CRM, f"{CONTACTS}/batch/read", "POST", json={"inputs": [{"id": "1042"}, {"id": "7"}]})
    assert (whole.status_code, partial.status_code) == (200, 207)
    assert partial.json()["errors"][0]["context"] == {"ids": ["7"]}


def test_changes_are_reported_with_hubspots_signature(call: Call, settings: Settings, receiver: Receiver) -> None:
    settings(CRM, webhook={"url": receiver.url, "secret": "client secret"})
    call(CRM, f"{CONTACTS}/1057", "PATCH", json={"properties": {"lifecyclestage": "customer"}})
    delivery = receiver.next()
    assert Signature.is_valid(
        signature=delivery.fields["x-hubspot-signature-v3"],
        client_secret="client secret",
        request_body=delivery.body.decode(),
        http_uri=receiver.url,
        signature_version="v3",
        timestamp=delivery.fields["x-hubspot-request-timestamp"],
    )
    (event,) = json.loads(delivery.body)
    assert (event["objectId"], event["propertyValue"]) == (1057, "customer")


def test_tokens_of_hubspot_are_checked(call: Call, settings: Settings) -> None:
    settings(CRM, token="pat-right")
    assert call(CRM, CONTACTS).json()["category"] == "INVALID_AUTHENTICATION"
    issued = call(CRM, "/oauth/v1/token", "POST", data={"grant_type": "refresh_token", "refresh_token": "na1-x"}).json()
    for token in ("pat-right", issued["access_token"]):
        assert call(CRM, CONTACTS, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_salesforce_tells_its_usage_and_forbids_caching(call: Call) -> None:
    found = call(CRM, QUERY, params={"q": "SELECT Id, LastName FROM Contact LIMIT 2"})
    assert [record["LastName"] for record in found.json()["records"]] == ["Okafor", "Moreau"]
    assert found.headers["Sforce-Limit-Info"].startswith("api-usage=")
    assert "no-store" in found.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("token", "errors", "expected"),
    [
        ("Bearer expired", {}, (401, "INVALID_SESSION_ID")),
        ("", {"query": "REQUEST_LIMIT_EXCEEDED"}, (403, "REQUEST_LIMIT_EXCEEDED")),
    ],
)
def test_errors_of_salesforce(
    call: Call, settings: Settings, token: str, errors: dict[str, str], expected: tuple[int, str]
) -> None:
    settings(CRM, errors=errors)
    error = call(CRM, QUERY, params={"q": "SELECT Id FROM Contact"}, headers={"Authorization": token})
    assert (error.status_code, error.json()[0]["errorCode"]) == expected
