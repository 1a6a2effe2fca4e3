"""Writes the reference documentation."""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.environment.installation import BASE_DIR
from gateway_project.reference.commands import commands_page
from gateway_project.reference.configuration import configuration_page
from gateway_project.reference.environment import environment_page
from gateway_project.reference.errors import errors_page
from gateway_project.reference.http_api import http_api_page
from gateway_project.reference.metrics import metrics_page
from gateway_project.reference.site import changelog_page, decisions_page, figures_page, overview_page


class Command(BaseCommand):
    help = "Write the reference documentation of this version as Markdown pages: `make docs` builds the site from them."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, help="where to; it is made if it does not exist")

    def handle(self, *, directory: Path, **_: Any) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, content in pages(BASE_DIR).items():
                (directory / name).write_text(content)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        self.stdout.write(f"wrote {directory}")


def pages(root: Path) -> dict[str, str]:
    """The pages by file name. `root` is the repository, whose README, docs and examples they contain too."""

    def read(name: str) -> str:
        return (root / name).read_text()

    writers: dict[str, Callable[[], str]] = {
        "benchmarks.md": lambda: figures_page(read("benchmarks/results.md")),
        "changelog.md": lambda: changelog_page(read("CHANGELOG.md")),
        "commands.md": commands_page,
        "configuration.md": lambda: configuration_page(read("docs/gateway.example.yaml")),
        "decisions.md": lambda: decisions_page(root / "docs" / "adr"),
        "environment.md": lambda: environment_page(read("docs/environment.md")),
        "errors.md": errors_page,
        "http-api.md": http_api_page,
        "metrics.md": metrics_page,
        "overview.md": lambda: overview_page(read("README.md")),
    }
    return {name: write() for name, write in writers.items()}
