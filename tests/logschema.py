"""The JSON Schema of a line of the log, which the documentation has."""

import json
from typing import Any, Final

import jsonschema

from tests.system.server import ROOT

_VALIDATOR: Final = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "log-schema.json").read_text()))


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of a log, each as the schema says. Raises AssertionError for one that is not."""
    found = []
    for line in text.splitlines():
        if line == "ready":
            continue
        try:
            document = json.loads(line, parse_constant=_refuse)
        except ValueError:
            raise AssertionError(f"not JSON: {line!r}") from None
        faults = [error.message for error in _VALIDATOR.iter_errors(document)]
        assert not faults, f"{faults}: {line}"
        line.encode()
        found.append(document)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)
