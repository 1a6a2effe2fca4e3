"""The texts that the code marks for translation, and those that the catalogues have."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOT: Final = Path(__file__).parents[3]
LOCALE: Final = ROOT / "gateway_project" / "locale" / "de" / "LC_MESSAGES"
TEMPLATES: Final = ("templates", "routing/templates")
PYTHON: Final = ("gateway_project", "metrics", "routing")
FUNCTIONS: Final = frozenset({"_", "gettext", "gettext_lazy"})
PLURALS: Final = frozenset({"ngettext"})
_LITERAL: Final = r"u?'(?:[^'\\]|\\.)*'|u?\"(?:[^\"\\]|\\.)*\""
_TEMPLATE_CALL: Final = re.compile(rf"(?<![\w.])(?:n?gettext|_)\(({_LITERAL})(?:,\s*({_LITERAL}))?")
_SCRIPT_CALL: Final = re.compile(
    rf"\b(?:n?gettext(?:_noop)?\(\s*|plural\([^\"]*?,\s*)({_LITERAL})(?:,\s*({_LITERAL}))?"
)


Text = str | tuple[str, str]


def in_templates() -> set[Text]:
    found: set[Text] = set()
    for path in (path for folder in TEMPLATES for path in (ROOT / folder).rglob("*.html")):
        for one, many in _TEMPLATE_CALL.findall(templatize(path.read_text())):
            found.add((ast.literal_eval(one), ast.literal_eval(many)) if many else ast.literal_eval(one))
    return found


def in_python() -> set[Text]:
    return {
        text for name in PYTHON for path in (ROOT / name).rglob("*.py") for text in _calls(ast.parse(path.read_text()))
    }


def _calls(tree: ast.AST) -> Iterator[Text]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if node.func.id in FUNCTIONS and texts:
            yield str(texts[0])
        elif node.func.id in PLURALS:
            yield str(texts[0]), str(texts[1])


def in_scripts() -> set[Text]:
    found: set[Text] = set()
    for path in (ROOT / "metrics" / "static").rglob("*.js"):
        for one, many in _SCRIPT_CALL.findall(path.read_text()):
            found.add((ast.literal_eval(one), ast.literal_eval(many)) if many else ast.literal_eval(one))
    return found


def translated(domain: str) -> dict[Text, Text]:
    """What the .po file has."""
    with (LOCALE / f"{domain}.po").open("rb") as file:
        messages: list[Any] = [message for message in read_po(file) if message.id]
    return {message.id: message.string for message in messages}


def compiled(domain: str) -> gettext.GNUTranslations:
    with (LOCALE / f"{domain}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)
