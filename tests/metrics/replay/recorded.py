"""A gateway with a configuration in the database, whose requests are all recorded."""

from typing import Any

from routing.authentication.api_keys import digest
from routing.database.apply import apply_document
from routing.database.loader import load
from routing.models import ApiKey
from tests.metrics.harness import Harness, ok

PATH = "/api/v1/crm/contacts"


class RecordedGateway:
    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        origin = harness.serve(ok(), name="origin")
        self.service: dict[str, Any] = {
            "targets": [{"url": origin.target.url}],
            "cache": False,
            "request_log": {"sample": 1},
        }
        key = harness.keys["every"]
        ApiKey.objects.create(name="every", prefix=key.split("_")[1], digest=digest(key), scopes=["*"])
        self.apply({})

    def document(self, **settings: Any) -> dict[str, Any]:
        return {"version": 1, "services": {"crm": {**self.service, **settings}}}

    def apply(self, settings: dict[str, Any]) -> None:
        """To the database and to the gateway."""
        apply_document(self.document(**settings))
        self.harness.live.table = load(lambda _: None).table
        self.harness.gateway._until_sample = self.harness.request_log.next_sample()

    def send(self, count: int, path: str = PATH) -> list[int]:
        """The statuses of so many requests."""
        return [self.harness.request(path) for _ in range(count)]
