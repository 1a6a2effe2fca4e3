"""Texts of pages and scripts that are not marked for translation."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from django.template.base import Lexer, TokenType

from tests.metrics.languages.catalogues import ROOT, TEMPLATES

ENGLISH: Final = ("api_docs",)
"""Pages about the API, which is in English."""
ADMIN: Final = ("routing/admin", "metrics/admin", "metrics/sign_in/admin.py")
SHOWN: Final = frozenset({"aria-label", "title", "placeholder", "alt", "data-label", "data-none", "data-failed"})
NAMES: Final = frozenset(
    {"API", "Authorization", "CSV", "Content-Type", "HTTP", "ID", "IP", "Intelligence Gateway", "JSON", "OpenAPI"}
    | {
        "4xx",
        "USD",
        "bad_gateway",
        "null",
        "gw_…",
        "/api/v1/",
        "/ /api/v1/",
        "/api/v1/crm/contacts?page=2",
        "Accept: application/json",
        "$refs.",
    }
    | {
        "chevron_right",
        "good",
        "warn",
        "wide",
        "version: 1 services: crm: targets: [{url: https://crm.example.com}] rate_limit: 100/m",
    }
    | {"Redis", "UTC", "YAML", "ms", "s", "kB", "env", "file", "p50", "p95", "p99", "DELETE", "GET", "POST", "PUT"}
)
"""What is the same in every language, or no text: values, and names of classes and icons."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_DEFAULT: Final = re.compile(r"\|default(?:_if_none)?:[\"']([^\"']*)[\"']")
"""What a page shows in place of an empty value."""
_MARKED: Final = frozenset({"blocktranslate", "blocktrans"})
_CODE: Final = frozenset({"script", "style", "code", "pre", "kbd", "svg"})
_VOID: Final = frozenset({"path", "circle", "input", "link", "meta", "img", "br"})


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._code += tag in _CODE
        self.texts += [value for name, value in attributes if name in SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in _CODE

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.texts.append(data)


def _says_something(text: str) -> bool:
    shown = " ".join(text.split()).removeprefix("· ")
    return shown not in NAMES and any(word not in NAMES for word in _WORD.findall(shown))


def in_templates() -> Iterator[str]:
    for folder in TEMPLATES:
        for path in sorted((ROOT / folder).rglob("*.html")):
            if path.stem not in ENGLISH:
                page, source = _Page(), path.read_text()
                page.feed(_without_tags(source))
                texts = (" ".join(text.split()) for text in [*page.texts, *_DEFAULT.findall(source)])
                yield from (f"{path.relative_to(ROOT)}: {text}" for text in texts if _says_something(text))


def _without_tags(source: str) -> str:
    """The template's own text, without tags, comments, and what is marked."""
    parts: list[str] = []
    within = ""
    for token in Lexer(source).tokenize():
        words = token.contents.split()
        if token.token_type == TokenType.BLOCK and words[0] in (*_MARKED, "comment"):
            within = f"end{words[0]}"
        elif within:
            within = "" if words and words[0] == within else within
        elif token.token_type == TokenType.TEXT:
            parts.append(token.contents)
    return "".join(parts)


_LITERAL: Final = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`")
_CALL: Final = re.compile(
    r"\b(?:n?gettext(?:_noop)?\((?:\s*\"(?:[^\"\\]|\\.)*\",?)+|plural\([^\"]*?(?:,\s*\"[^\"]*\"){1,2}"
    r"|new Error\(\"[^\"]*\")"
)
_SENTENCE: Final = re.compile(r"[A-Z][a-z]+ [a-z]|[a-z] [a-z]+ [a-z]|^[A-Z][a-z]+…|\w\.$")
_SHOWN_WORD: Final = re.compile(
    r"(?:textContent\s*=|\"aria-label\"[:,]|\bplaceholder:|\btitle:|\bverb:)\s*\"([A-Z][a-z]*)\""
)


def in_scripts() -> Iterator[str]:
    """Sentences, and words that are set as a text or a name."""
    for path in sorted((ROOT / "metrics" / "static").rglob("*.js")):
        if path.parent.name in ENGLISH:
            continue
        source = re.sub(r"(?:^|\s)//.*$", "", path.read_text(), flags=re.MULTILINE)
        rest = _CALL.sub("", source)
        texts = ["".join(found) for found in _LITERAL.findall(rest)]
        bare = [re.sub(r"\$\{[^{}]*\}", "", text) for text in texts]
        yield from (
            f"{path.relative_to(ROOT)}: {text}"
            for text in [*filter(_SENTENCE.search, bare), *_SHOWN_WORD.findall(rest)]
            if _says_something(text)
        )


_KEYWORDS: Final = frozenset(
    {"description", "help_text", "label", "title", "unit", "empty", "null", "unset", "row_name", "add_label"}
    | {"search_help_text", "verbose_name", "short_description"}
)
_CALLS: Final = frozenset({"message_user", "ValidationError", "success", "warning", "error", "info", "add_error"})


def in_admin() -> Iterator[str]:
    for folder in ADMIN:
        place = ROOT / folder
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            texts = (
                text for node in ast.walk(ast.parse(path.read_text())) for text in (*_shown(node), *_attributes(node))
            )
            yield from (f"{path.relative_to(ROOT)}: {text}" for text in texts if _says_something(text))


def _shown(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for keyword in node.keywords:
            if keyword.arg in _KEYWORDS:
                yield from _text(keyword.value)
        if name in _CALLS:
            for argument in node.args[-1:] if name == "add_error" else node.args[-2:]:
                yield from _text(argument)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _KEYWORDS:
        yield from _text(node.value)


def _attributes(node: ast.AST) -> Iterator[str]:
    """Of widgets."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in SHOWN:
                yield from _text(value)


def _text(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
