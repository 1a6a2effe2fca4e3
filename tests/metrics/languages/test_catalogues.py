"""The German catalogues are whole: `make messages` brings them up to date."""

import re
from collections.abc import Callable, Iterable

import pytest

from tests.metrics.languages import unmarked
from tests.metrics.languages.catalogues import ROOT, Text, compiled, in_python, in_scripts, in_templates, translated

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%%")


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_every_marked_text_is_in_the_catalogue_and_nothing_else(domain: str) -> None:
    marked = in_scripts() if domain == "djangojs" else in_python() | in_templates()
    known = set(translated(domain))
    plain = {text[0] for text in known if isinstance(text, tuple)}  # gettext keeps one entry for both forms
    assert sorted(map(str, marked - known - plain)) == []
    assert sorted(map(str, known - marked)) == []


@pytest.mark.parametrize("texts", [unmarked.in_templates, unmarked.in_scripts, unmarked.in_admin])
def test_no_text_of_pages_scripts_and_the_admin_is_left_unmarked(texts: Callable[[], Iterable[str]]) -> None:
    assert list(texts()) == []


def test_scripts_import_the_functions_of_texts_that_they_call() -> None:
    """Only pages in other languages than English have global ones: in English, the call is an error."""
    scripts = (path for path in (ROOT / "metrics" / "static").rglob("*.js") if "import {" in path.read_text())
    missing = []
    for path in scripts:
        source = path.read_text()
        imported = re.findall(r"\w+", " ".join(re.findall(r"^import \{([^}]*)\}", source, flags=re.MULTILINE)))
        called = set(re.findall(r"(?<![\w.])(n?gettext|plural)\(", source))
        own = set(re.findall(r"export const (\w+)", source))
        missing += [f"{path.name}: {name}" for name in sorted(called - {*imported, *own})]
    assert missing == []


def forms(text: Text) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,)


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_every_text_is_translated_with_the_same_placeholders(domain: str) -> None:
    for text, german in translated(domain).items():
        assert all(forms(german)), text
        for each in forms(german):
            assert set(PLACEHOLDER.findall(each)) == set(PLACEHOLDER.findall(forms(text)[-1])), text


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_what_is_compiled_is_what_is_written(domain: str) -> None:
    catalogue = compiled(domain)
    for text, german in translated(domain).items():
        if isinstance(text, tuple):
            assert (catalogue.ngettext(*text, 1), catalogue.ngettext(*text, 2)) == german
        else:
            assert catalogue.gettext(text) == german
