"""The commands in the documentation: those of two pages are run, and all others are at least well formed."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from tests.ports import free_port
from tests.processes import eventually
from tests.seed import create_keys
from tests.system.server import ROOT, Server, document
from tests.walkthrough import run

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
COMMAND = re.compile(r"(?:python )?manage\.py ((?:[a-z-]+)(?: [^`\n|;)\\\\]*)?)")


@pytest.fixture(scope="module")
def operator() -> Iterator[tuple[Server, str]]:
    """A gateway with a service `shop`, and a key to operate it."""
    with Server(migrated=True) as server:
        server.manage("config", "apply", "-", stdin=document({"shop": {"targets": [{"url": "http://127.0.0.1:9"}]}}))
        keys = create_keys(server.manage, {"operator": ("metrics:read", "metrics:write")})
        assert eventually(lambda: server.get("/metrics/circuit-breakers", keys["operator"]).status_code == 200, 10)
        yield server, keys["operator"]


def test_the_commands_of_the_runbooks_work(operator: tuple[Server, str]) -> None:
    server, key = operator
    environment = {"PATH": os.environ["PATH"], "GATEWAY": server.address, "KEY": key}
    done = run((DOCS / "runbooks.md").read_text(), directory=ROOT, environment=environment, seconds=60)
    outputs = [json.loads(line) for each in done for line in each.output.splitlines()]
    assert [name for output in outputs for name in output if name in ("code", "errors")] == []
    assert outputs[-2:] == [
        {"service": "shop", "state": "CLOSED"},
        {"service": "shop", "state": "FORCED_OPEN"},
    ]


def test_the_commands_of_the_checklist_work(tmp_path: Path) -> None:
    page = (DOCS / "production-checklist.md").read_text()
    for name in ("gateway.yaml", "prometheus.key"):
        page = page.replace(f" {name}", f" {tmp_path / name}")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.sqlite3'}",
        "PORT": str(free_port()),
    }
    outputs = [each.output for each in run(page, directory=ROOT, environment=environment, seconds=120)]
    assert "no issues" in outputs[0]
    assert "valid" in outputs[1]
    assert "prometheus" in outputs[2]
    assert re.match(r"gw_\w+$", (tmp_path / "prometheus.key").read_text().split()[-1])


def commands(page: Path) -> list[list[str]]:
    """The words of each command of `manage.py` in a page, without what stands for arguments of any kind."""
    found = []
    for content in COMMAND.findall(page.read_text()):
        try:
            words = shlex.split(content, comments=True)
        except ValueError:  # an apostrophe of the sentence around it
            words = content.split()
        found.append(words)
    return found


def fault(words: list[str]) -> str | None:
    """What is wrong with the name of a command, of its action, or of an option."""
    name, *rest = words
    app = get_commands().get(name)
    if app is None:
        return f"{name} is no command"
    parser: Any = load_command_class(str(app), name).create_parser("manage.py", name)
    actions = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), None)
    if actions and rest and not rest[0].startswith("-") and rest[0] not in actions:
        return f"{name} has no {rest[0]}"
    if actions and rest and rest[0] in actions:
        parser = actions[rest[0]]
    known = {option for action in parser._actions for option in action.option_strings}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{' '.join(words)}: {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_actions_and_options_exist(page: Path) -> None:
    assert [found for found in map(fault, commands(page)) if found] == []


def test_every_command_of_an_example_can_be_pasted() -> None:
    """`manage.py` is not executable, and a prompt is no part of a command."""
    blocks = [block for page in PAGES for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.M | re.S)]
    assert len(blocks) > 100
    assert re.findall(r"^(?:\$ )?manage\.py .*", "\n".join(blocks), re.M) == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert fault(["config", "appply"]) == "config has no appply"
    assert fault(["config", "apply", "f", "--purge"]) == "config apply f --purge: --purge"
    assert fault(["apikeys"]) == "apikeys is no command"
    assert fault(["config", "apply", "f", "--prune"]) is None
