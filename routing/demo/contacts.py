"""The state of the demonstration's CRM, in memory: what is added is lost on restart."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

MAX_CONTACTS: Final = 1_000
BEGUN: Final = datetime(2026, 11, 23, 8, tzinfo=UTC)
WRITABLE: Final = ("firstname", "lastname", "email", "company", "lifecyclestage", "annualrevenue")
PROPERTIES: Final = {
    "firstname": "First Name",
    "lastname": "Last Name",
    "email": "Email",
    "company": "Company Name",
    "lifecyclestage": "Lifecycle Stage",
    "annualrevenue": "Annual Revenue",
}


@dataclass
class Contact:
    """`properties` as HubSpot names them, all of them text."""

    key: int
    properties: dict[str, str]
    created: datetime
    updated: datetime

    @property
    def summary(self) -> dict[str, Any]:
        """In the form of `/contacts`."""
        properties = self.properties
        return {
            "id": f"con_{self.key}",
            "name": f"{properties.get('firstname', '')} {properties.get('lastname', '')}".strip(),
            "company": properties.get("company", ""),
            "email": properties.get("email", ""),
            "stage": properties.get("lifecyclestage", ""),
            "annualValue": int(properties.get("annualrevenue") or 0),
        }


class Contacts:
    """Contacts by number. The clock advances by a minute with each change."""

    def __init__(self) -> None:
        self._now = BEGUN
        self.contacts: dict[int, Contact] = {}
        for key, name, company, email, stage, value in (
            (1042, "Ruth Okafor", "Contoso", "r.okafor@contoso.example", "renewal", 184_000),
            (1057, "Luc Moreau", "Fabrikam", "l.moreau@fabrikam.example", "negotiation", 96_500),
            (1063, "Hana Sato", "Northwind", "h.sato@northwind.example", "customer", 241_000),
            (1088, "Marek Nowak", "Tailspin", "m.nowak@tailspin.example", "lead", 38_000),
        ):
            first, last = name.split()
            values = (first, last, email, company, stage, str(value))
            self.add(dict(zip(WRITABLE, values, strict=True)), key)

    def add(self, properties: dict[str, str], key: int | None = None) -> Contact:
        number = key or max(self.contacts, default=1_100) + 1
        self._now += timedelta(minutes=1)
        if len(self.contacts) >= MAX_CONTACTS:
            del self.contacts[next(iter(self.contacts))]
        contact = Contact(number, properties, self._now, self._now)
        self.contacts[number] = contact
        return contact

    def change(self, contact: Contact, properties: dict[str, str]) -> None:
        self._now += timedelta(minutes=1)
        contact.properties |= properties
        contact.updated = self._now

    def find(self, key: str) -> Contact | None:
        return self.contacts.get(int(key)) if key.isdecimal() and len(key) < 16 else None

    def with_email(self, email: str) -> Contact | None:
        return next((one for one in self.contacts.values() if one.properties.get("email") == email), None)
