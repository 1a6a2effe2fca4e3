"""JSON Merge Patch (RFC 7396). Pure."""

from typing import Any


def merge_patch(value: Any, patch: Any) -> Any:
    """The value with the patch applied: mappings are merged, null removes a key, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged
