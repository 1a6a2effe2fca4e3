"""The owner of a quota's counter, in words."""

from typing import NamedTuple

from routing.authentication.api_keys import ApiKeys


class QuotaOwner(NamedTuple):
    """`owner` is `key`, `consumer` or `team`, and `name` is its name, of a key its prefix. `quota` is that of its
    RateLimit field.
    """

    owner: str
    name: str
    quota: str


def owner_of(counter: str, keys: ApiKeys) -> QuotaOwner:
    """The owner of a counter such as `consumer:12|plan|month`. A deleted row is named by its id."""
    subject, limit, per = counter.split("|")
    owner, _, row = subject.partition(":")
    names = {
        "key": lambda: getattr(keys.records.get(int(row)), "prefix", row),
        "consumer": lambda: getattr(keys.consumers.find(int(row)), "name", row),
        "team": lambda: getattr(keys.consumers.data.teams.get(int(row)), "name", row),
    }
    return QuotaOwner(owner, names[owner](), f"{limit}-{per}")
