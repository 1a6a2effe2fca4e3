"""The limits of a key beside its scopes."""

import pytest

from routing.authentication.key_rules import KeyRules
from routing.errors import Forbidden


@pytest.mark.parametrize(
    ("methods", "permitted"),
    [
        ({"GET"}, {"GET", "HEAD"}),
        ({"HEAD"}, {"HEAD"}),
        ({"POST"}, {"POST"}),
        (None, {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_head_is_part_of_get_as_in_routes_and_plans(methods: set[str] | None, permitted: set[str]) -> None:
    rules = KeyRules((), None if methods is None else frozenset(methods))
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        if method in permitted:
            rules.check("192.0.2.1", method)
        else:
            with pytest.raises(Forbidden, match="may not be used with this method"):
                rules.check("192.0.2.1", method)
