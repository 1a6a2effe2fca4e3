"""The reference has everything that the code has."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command, get_commands

from gateway_project import config
from gateway_project.management.commands.reference import pages
from gateway_project.reference.configuration import example_lines
from gateway_project.reference.defaults import display
from gateway_project.reference.markdown import code, table, text
from gateway_project.reference.site import relink, relink_sibling
from metrics import prometheus
from resilience.ratelimit.policy import RatePolicy
from routing.configuration.decode import route_parsers, service_parsers
from routing.configuration.section_parsers import SECTIONS
from routing.configuration.values import duration
from routing.errors import GatewayError

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "docs" / "gateway.example.yaml").read_text()


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return pages(ROOT)


def section(page: str, heading: str) -> str:
    """The text of a page below a heading, up to the next heading."""
    return re.split(r"^#+ ", page.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_key_of_a_service_and_its_sections_is_described(reference: dict[str, str]) -> None:
    page = reference["configuration.md"]
    for name in service_parsers(lambda _: ""):
        described = section(page, f"### `{name}` {{ #{name} }}")
        assert "Accepts " in described
        assert [key for key in SECTIONS.get(name, ()) if f"| `{key}" not in described] == [], name
    routes = section(page, "## Routes\n")
    assert [name for name in ("path", "methods", "invalidates", "idempotency") if f"| `{name}` |" not in routes] == []
    assert route_parsers(lambda _: "").keys() - service_parsers(lambda _: "").keys() == {
        *("path", "methods", "invalidates", "idempotency")
    }


def test_no_key_of_the_file_accepts_anything_unknown(reference: dict[str, str]) -> None:
    page = reference["configuration.md"]
    assert "any value" not in page
    assert "object at 0x" not in page
    assert "\N{EMPTY SET}" not in page


def test_the_example_has_what_the_page_calls_the_default(reference: dict[str, str]) -> None:
    """Both say what holds without a setting: one in the policies, the other in the file that people read."""
    service: dict[str, Any] = yaml.safe_load(EXAMPLE)["services"]["slackIntelligence"]
    compared = 0
    for name in ("timeout", "retries", "cache", "breaker", "health", "signature", "outbound"):
        described = section(reference["configuration.md"], f"### `{name}` {{ #{name} }}")
        for key, words, default in re.findall(r"^\| `(\w+)` \| (.*) \| `(.*)` \|$", described, re.MULTILINE):
            if key not in service[name] or default == "unset" or (name, key) == ("cache", "only_if"):  # an example
                continue
            value, compared = yaml.safe_load(default.replace("@", "")), compared + 1
            if words.startswith("a duration") and value is not None:
                assert duration(value) == duration(service[name][key]), (name, key)
            else:
                assert value == yaml.safe_load(str(service[name][key]).replace("@", "").replace("None", "null"))
    assert compared > 35


@pytest.mark.parametrize("key", list(service_parsers(lambda _: "")))
def test_every_setting_has_an_example(key: str) -> None:
    assert key in example_lines(EXAMPLE, key, indent=4)


def test_an_example_ends_where_the_next_key_begins() -> None:
    lines = "a:\n  b: 1\n  # more\n    deeper\nc: 2"
    assert example_lines(lines, "b", indent=2) == "b: 1"
    assert example_lines(lines, "a", indent=0) == "a:\n  b: 1\n  # more\n    deeper"
    assert example_lines(lines, "none", indent=0) == ""


def test_every_variable_is_described_with_what_the_code_makes_of_it(reference: dict[str, str]) -> None:
    page, source = reference["environment.md"], Path(config.__file__).parent
    files = [Path(config.__file__), *(source / "environment").glob("*.py")]
    read = {name for file in files for name in re.findall(r'\bget\("([A-Z_]+)"', file.read_text())}
    assert {"WORKERS", "RATE_LIMIT", "STAFF_OIDC_ISSUER", "CLIENT_CA"} <= read
    session = {"HOME", "XDG_STATE_HOME"}  # the system's: DATA_DIR says what follows from them
    assert [name for name in sorted(read - session) if f"| `{name}` | " not in page] == []
    assert "| `WORKERS` | an integer from 1 to 256 | `1` |" in page
    assert "| `SECRET_KEY` | a text |  |" in page
    assert str(ROOT) not in page


def test_every_error_is_listed(reference: dict[str, str]) -> None:
    def kinds(kind: type[GatewayError]) -> set[str]:
        own = {kind.code} if "code" in vars(kind) else set()
        return own.union(*map(kinds, kind.__subclasses__()))

    codes = {code for code in kinds(GatewayError) if isinstance(code, str)}
    assert "would_delete" in codes
    assert set(re.findall(r"^\| \d+ \| `(\w+)` ", reference["errors.md"], re.MULTILINE)) == codes


def test_every_metric_is_listed(reference: dict[str, str]) -> None:
    listed = set(re.findall(r"^\| `(gateway_\w+?)(?:_total|_bucket)?` ", reference["metrics.md"], re.MULTILINE))
    assert listed == {metric.name for metric in prometheus.describe()}


def test_every_command_is_listed_with_its_subcommands(reference: dict[str, str]) -> None:
    own = [name for name, app in get_commands().items() if app in ("gateway_project", "routing", "metrics")]
    page = reference["commands.md"]
    assert [name for name in own if f"## `{name}`" not in page] == []
    assert "### `config apply`" in page
    assert "| `--prune` | " in section(page, "### `config apply`")


def test_every_path_of_the_http_api_is_listed(reference: dict[str, str]) -> None:
    page = reference["http-api.md"]
    for operation in ("GET /metrics", "PUT /api/config", "POST /api/explain", "GET /health/deep", "POST /events"):
        assert f"### `{operation}`" in page
    assert "GET, HEAD, POST, PUT, PATCH, DELETE /api/v1/{service}/{path}" in page


def test_decisions_are_listed_by_number(reference: dict[str, str]) -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    listed = re.findall(r"^\| (\d+) \| \[", reference["decisions.md"], re.MULTILINE)
    assert list(map(int, listed)) == numbers


def test_the_command_writes_the_pages(tmp_path: Path, reference: dict[str, str]) -> None:
    call_command("reference", str(tmp_path / "new"), stdout=StringIO())
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == reference


def test_markup_in_what_is_described_is_text() -> None:
    assert text("a <b> *c* `d_e*` {f}") == "a \\<b\\> \\*c\\* `d_e*` \\{f\\}"
    assert text("an ` alone") == "an \\` alone"
    assert code("a`b") == "``a`b``"
    assert code("") == ""
    assert table(("a",), [("b | c\nd",)]) == "| a |\n| --- |\n| b \\| c d |"


@pytest.mark.parametrize(
    ("value", "words", "shown"),
    [
        (2.0, "a duration such as 2s", "2s"),
        (0.5, "a number from 0 to 1", "0.5"),
        (float("inf"), "a duration or `null`", "null"),
        (None, "a text", "unset"),
        (False, "true or false", "false"),
        (("GET", "HEAD"), "a list", "[GET, HEAD]"),
        ((), "a mapping of names to values", "{}"),
        (RatePolicy(), "a rate", "100/60s"),
    ],
)
def test_defaults_are_written_as_in_the_file(value: object, words: str, shown: str) -> None:
    assert display(value, words) == shown


def test_links_lead_to_pages_of_the_site() -> None:
    assert relink("[docs/a.md](docs/a.md#b) [x](.env.example) [y](#z) [w](https://w.example)") == (
        "[a](../a.md#b) x [y](#z) [w](https://w.example)"
    )
    beside = "[docs/adr](docs/adr) [docs/environment.md](docs/environment.md#a) [b](../docs/environment.md)"
    assert relink(beside) == "[adr](decisions.md) [environment](environment.md#a) [b](environment.md)"
    assert relink_sibling("[a](a.md#b) [w](https://w.example)") == "[a](../a.md#b) [w](https://w.example)"
