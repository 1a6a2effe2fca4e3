"""Variables of templates that were not filled in, such as `${TENANT}`: they would be sent as they are. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final

from routing.configuration.faults import Fault, Path

NOT_REPLACED: Final = "{} is taken as it is written: env:NAME refers to a secret, and nothing else is replaced here"
"""The default of a variable may be a secret, so that only its name is shown."""
MAX_DEPTH: Final = 8
_FORM: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,99})(?:[:?+=-][^{}]*)?\}|\$?\{\{[^{}]*\}\}")


def placeholders(value: Any, path: Path = ()) -> Iterator[Fault]:
    """A fault for each text of a document that has one, but for bodies of fallbacks."""
    if len(path) > MAX_DEPTH or path[-2:] == ("fallback", "body"):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from placeholders(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from placeholders(item, (*path, index))
    elif isinstance(value, str) and (found := _FORM.search(value)):
        yield Fault(path, NOT_REPLACED.format(f"${{{found[1]}}}" if found[1] else "{{ ... }}"))
