"""Merging a document's operations into routes, and what was set by hand."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routing.openapi.merging import Edit, covers, merge
from routing.openapi.operations import DocumentRoute, shape

GET, POST, DELETE = ("GET",), ("POST",), ("DELETE",)


def route(path: str, *methods: str, **settings: Any) -> dict[str, Any]:
    return {"path": path, "methods": list(methods), **settings}


def paths(routes: list[dict[str, Any]]) -> list[str]:
    return [each["path"] for each in routes]


def test_a_first_import_adds_a_route_of_each_operation() -> None:
    wanted = [DocumentRoute("/a", ("GET", "POST")), DocumentRoute("/b", GET)]
    merged = merge([], wanted)
    assert merged.routes == [route("/a", "GET", "POST"), route("/b", "GET")]
    assert (merged.added, merged.imported) == (tuple(wanted), tuple(wanted))


def test_fixed_paths_come_before_parameters_that_match_them() -> None:
    wanted = [DocumentRoute(path, GET) for path in ("/a/{id}", "/a/{id}/b", "/a/me", "/a/me/b", "/{any}/me", "/*")]
    merged = merge([], [wanted[-1], *wanted[:-1]])
    assert paths(merged.routes).index("/a/me") < paths(merged.routes).index("/a/{id}")
    assert paths(merged.routes).index("/a/me/b") < paths(merged.routes).index("/a/{id}/b")
    assert paths(merged.routes)[-1] == "/*"


def test_a_second_import_changes_methods_and_keeps_settings() -> None:
    first = merge([], [DocumentRoute("/a", ("GET", "POST")), DocumentRoute("/b", GET)])
    by_hand = [{**first.routes[0], "scopes": ["crm:read"], "cache": {"ttl": 5}}, first.routes[1]]
    second = merge(by_hand, [DocumentRoute("/a", ("GET", "DELETE")), DocumentRoute("/c", GET)], first.imported)
    assert second.routes == [route("/a", "GET", "DELETE", scopes=["crm:read"], cache={"ttl": 5}), route("/c", "GET")]
    assert second.changed == (Edit("/a", ("GET", "POST"), ("GET", "DELETE")),)
    assert (second.removed, second.added) == ((DocumentRoute("/b", GET),), (DocumentRoute("/c", GET),))


def test_a_route_with_settings_stays_when_the_document_drops_it() -> None:
    """Without it, its path would have the service's own, perhaps weaker, settings."""
    first = merge([], [DocumentRoute("/admin", GET)])
    by_hand = [route("/admin", "GET", scopes=["admin"])]
    second = merge(by_hand, [], first.imported)
    assert (second.routes, second.kept, second.removed) == (by_hand, (DocumentRoute("/admin", GET),), ())
    assert merge(by_hand, [], second.imported).kept == (DocumentRoute("/admin", GET),)
    pruned = merge(by_hand, [], second.imported, prune=True)
    assert (pruned.routes, pruned.removed) == ([], (DocumentRoute("/admin", GET),))


def test_what_was_removed_by_hand_stays_removed() -> None:
    wanted = [DocumentRoute("/a", ("GET", "DELETE")), DocumentRoute("/b", GET)]
    first = merge([], wanted)
    second = merge([route("/a", "GET")], wanted, first.imported)
    assert second.routes == [route("/a", "GET")]
    assert second.left_out == (DocumentRoute("/a", DELETE), DocumentRoute("/b", GET))
    restored = merge([route("/a", "GET")], wanted, first.imported, restore=True)
    assert restored.routes == [route("/a", "GET", "DELETE"), route("/b", "GET")]


def test_routes_made_by_hand_are_never_removed() -> None:
    by_hand = [route("/own"), route("/a", "PUT")]
    first = merge(by_hand, [DocumentRoute("/a", GET)])
    assert first.routes == [route("/own"), route("/a", "GET", "PUT")]
    second = merge(first.routes, [], first.imported)
    assert second.routes == [route("/own"), route("/a", "PUT")]


def test_a_route_for_all_methods_has_those_of_the_document() -> None:
    merged = merge([route("/a/{x}")], [DocumentRoute("/a/{id}", ("GET", "POST"))])
    assert (merged.routes, merged.added, merged.changed) == ([route("/a/{x}")], (), ())


def test_settings_of_a_wider_route_hold_for_new_routes() -> None:
    """A new route before `/admin/*` would have none of its scopes."""
    by_hand = [route("/admin/*", scopes=["admin"]), route("/{any}")]
    merged = merge(by_hand, [DocumentRoute("/admin/users", GET), DocumentRoute("/me", GET)])
    assert paths(merged.routes) == ["/admin/*", "/me", "/{any}", "/admin/users"]
    assert merged.shadowed == (DocumentRoute("/admin/users", GET),)


def test_which_patterns_cover_others() -> None:
    for general, path in [
        ("/{a}", "/b"),
        ("/*", "/a/b"),
        ("/*", "/"),
        ("/a/*", "/a"),
        ("/a/*", "/a/{b}/c"),
        ("/", "/"),
    ]:
        assert covers(general, path), (general, path)
    for general, path in [("/b", "/{a}"), ("/{a}", "/"), ("/a/*", "/b/c"), ("/a/b/*", "/a"), ("/{a}", "/*")]:
        assert not covers(general, path), (general, path)


METHODS = st.lists(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), min_size=1, unique=True).map(tuple)
PATHS = st.sampled_from(["/a", "/a/{id}", "/a/me", "/b/{x}/c", "/{any}", "/"])
DOCUMENTS = st.dictionaries(PATHS, METHODS, max_size=6).map(
    lambda found: [DocumentRoute(*each) for each in found.items()]
)
SETTINGS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"scopes": ["s"]}, {"timeout": {"read": "1s"}}, {"cache": False}]
)


@given(DOCUMENTS, DOCUMENTS, st.data())
def test_settings_are_kept_and_importing_again_changes_nothing(
    before: list[DocumentRoute], after: list[DocumentRoute], data: st.DataObject
) -> None:
    first = merge([], before)
    by_hand = [{**each, **data.draw(SETTINGS)} for each in first.routes]
    second = merge(by_hand, after, first.imported)
    kept = {each["path"]: each for each in by_hand}
    for each in second.routes:
        assert {**each, "methods": 0} == {**kept.get(each["path"], {"path": each["path"]}), "methods": 0}
    wanted = {shape(path): set(methods) for path, methods in after}
    for form, methods in wanted.items():
        found = {name for each in second.routes if shape(each["path"]) == form for name in each["methods"]}
        assert methods <= found
    again = merge(second.routes, after, second.imported)
    assert again.routes == second.routes
    assert (again.added, again.changed, again.removed) == ((), (), ())
