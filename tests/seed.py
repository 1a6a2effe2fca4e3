"""A database with the API keys that a test needs, created by one process: each start of Django takes two seconds."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

_SCRIPT: Final = """
import io, json
from django.core.management import call_command
call_command("migrate", verbosity=0)
keys = {}
for name, scopes in %r.items():
    output = io.StringIO()
    options = [word for scope in scopes for word in ("--scope", scope)] or ["--all-services"]
    call_command("apikey", "create", name, *options, stdout=output)
    keys[name] = output.getvalue().split()[-1]
print(json.dumps(keys))
"""


def create_keys(manage: Callable[..., str], scopes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Migrate the database that `manage` works on and create API keys.

    `scopes` maps the name of each key to its scopes, none for every service. Returns the keys by the same names.
    """
    keys: dict[str, str] = json.loads(manage("shell", "--no-imports", "-c", _SCRIPT % dict(scopes)))
    return keys
