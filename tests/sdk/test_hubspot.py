"""hubspot-api-client, with only the host and the token changed."""

import uuid
from typing import Any

import pytest
from hubspot import HubSpot
from hubspot.crm.contacts import (
    ApiException,
    BatchReadInputSimplePublicObjectId,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)

from tests.sdk.conftest import Gateway


@pytest.fixture
def hubspot(gateway: Gateway) -> Any:
    return HubSpot(access_token=gateway.key, host=gateway.base("hubspot"))


def test_contacts_are_listed_in_pages(hubspot: Any) -> None:
    page = hubspot.crm.contacts.basic_api.get_page(limit=2)
    assert len(page.results) == 2
    following = hubspot.crm.contacts.basic_api.get_page(limit=2, after=page.paging.next.after)
    assert {contact.id for contact in page.results}.isdisjoint(contact.id for contact in following.results)
    assert len(hubspot.crm.contacts.get_all()) >= 4


def test_a_contact_is_created_changed_and_read(hubspot: Any) -> None:
    email, api = f"{uuid.uuid4()}@x.example", hubspot.crm.contacts.basic_api
    created = api.create(SimplePublicObjectInputForCreate(properties={"email": email}, associations=[]))
    assert api.get_by_id(created.id, properties=["email", "company"]).properties["company"] is None
    api.update(created.id, SimplePublicObjectInput(properties={"company": "Acme"}))
    assert api.get_by_id(created.id, properties=["email", "company"]).properties["company"] == "Acme"
    api.archive(created.id)
    with pytest.raises(ApiException) as missing:
        api.get_by_id(created.id, properties=["email", "company"])
    assert missing.value.status == 404


def test_contacts_are_searched_by_post(hubspot: Any) -> None:
    filters = [{"propertyName": "company", "operator": "EQ", "value": "Contoso"}]
    found = hubspot.crm.contacts.search_api.do_search(
        PublicObjectSearchRequest(filter_groups=[{"filters": filters}], properties=["company"], limit=5)
    )
    assert [contact.properties["company"] for contact in found.results] == ["Contoso"]


def test_a_batch_with_missing_contacts_is_whole(hubspot: Any) -> None:
    wanted = BatchReadInputSimplePublicObjectId(
        inputs=[{"id": "1042"}, {"id": "7"}], properties=["email"], properties_with_history=[]
    )
    found = hubspot.crm.contacts.batch_api.read(wanted)
    assert [contact.id for contact in found.results] == ["1042"]
    assert found.num_errors == 1


def test_properties_are_listed(hubspot: Any) -> None:
    listed = hubspot.crm.properties.core_api.get_all("contacts")
    assert "lifecyclestage" in {one.name for one in listed.results}


def test_a_cookie_of_hubspot_is_not_in_what_is_stored(hubspot: Any) -> None:
    api = hubspot.crm.contacts.basic_api
    answers = [api.get_by_id_with_http_info("1063", properties=["email"]) for _ in range(2)]
    assert answers[1][2]["X-Cache"] == "HIT"
    assert "Set-Cookie" not in answers[1][2]
    assert answers[0][0].properties == answers[1][0].properties


def test_a_limit_reaches_the_sdk(hubspot: Any, gateway: Gateway) -> None:
    gateway.set("crm", errors={"contacts.search": "RATE_LIMITS"})
    with pytest.raises(ApiException) as limited:
        hubspot.crm.contacts.search_api.do_search(PublicObjectSearchRequest(query="x"))
    assert limited.value.status == 429
