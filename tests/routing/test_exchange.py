"""Which module writes which attribute of an exchange: each step its own record, and no other."""

import ast
from functools import cache
from pathlib import Path

from routing.exchange import CacheSlot, CallRecord, Exchange

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("routing", "metrics", "gateway_project")
WRITERS = {
    "endpoint": {"routing/pipeline.py"},
    "step_log": {"routing/exchange.py"},
    "resolution": {"routing/pipeline.py"},
    "quota": {"routing/steps/gatekeeper.py"},
    "decision": {"routing/steps/gatekeeper.py"},
    "caller": {
        "routing/steps/gatekeeper.py",
        "routing/steps/presented.py",
        "metrics/dashboard/events.py",
        "metrics/replay/simulated_gateway.py",
    },
    "presented": {"routing/steps/presented.py"},
    "caller_slot": {"routing/steps/gatekeeper.py", "routing/pipeline.py"},
    "match": {"routing/steps/gatekeeper.py", "routing/steps/credential.py"},
    "plan_limits": {"routing/steps/plan.py"},
    "slots": {"routing/steps/plan.py"},
    "cache": {"routing/steps/cache/lookup.py", "routing/steps/cache/store.py", "routing/steps/cache/revalidation.py"},
    "cache_slot": {"routing/steps/cache/lookup.py", "routing/steps/cache/coalescing.py"},
    "content": {"routing/steps/cache/content.py"},
    "circuit": {"routing/steps/calls.py"},
    "model": {"routing/steps/calls.py"},
    "used_credential": {"routing/steps/credential.py"},
    "call": {"routing/steps/calls.py"},
    "error_code": {"routing/pipeline.py", "routing/steps/respond.py"},
}
"""The dashboard's feed authenticates by session."""
CALL_WRITERS = {
    f"routing/{name}.py"
    for name in ("steps/calls", "steps/reporting", "steps/retries", "steps/cache/store", "steps/cache/only_if")
}
"""Step 8 writes why the body of a response broke off, and why none was read."""
SLOT_WRITERS = {f"routing/steps/cache/{name}.py" for name in ("coalescing", "revalidation")}


@cache
def _assignments() -> list[tuple[str, str]]:
    """Each assignment to an attribute, as the file and the target's source, in all packages but the class itself."""
    found: list[tuple[str, str]] = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                attributes = [target for target in _targets(node) if isinstance(target, ast.Attribute)]
                found += [(name, ast.unparse(target)) for target in attributes]
    return found


def _targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign():
            return [
                part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
        case ast.AugAssign() | ast.AnnAssign():
            return [node.target]
    return []


def test_each_record_is_written_by_its_own_step() -> None:
    written: dict[str, set[str]] = {}
    for file, target in _assignments():
        owner, _, attribute = target.rpartition(".")
        if owner.endswith("exchange") and file != "routing/exchange.py":
            written.setdefault(attribute, set()).add(file)
    written["step_log"] = {"routing/exchange.py"}
    assert written == WRITERS


def test_every_attribute_of_an_exchange_has_a_writer() -> None:
    assert set(Exchange.__annotations__) | {"cache", "circuit", "error_code", "model"} == set(WRITERS)


def test_the_records_of_the_call_and_of_the_cache_are_written_by_their_steps() -> None:
    for file, target in _assignments():
        owner, _, attribute = target.rpartition(".")
        if owner.endswith("exchange.call"):
            assert file in CALL_WRITERS, target
            assert attribute in CallRecord.__struct_fields__
        if owner.endswith(("exchange.cache_slot", "slot")) and attribute in CacheSlot.__struct_fields__:
            assert file in SLOT_WRITERS, target
