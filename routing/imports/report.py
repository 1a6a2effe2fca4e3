"""What an import has made, and what it could not make. No text contains a value of the file that may be a secret."""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from routing.configuration.faults import Path, format_path
from routing.configuration.literals import is_secret

PREFIX: Final = "GATEWAY_SECRET_"
MAX_NAME: Final = 100
_REFERENCES: Final = (
    re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)"),  # LiteLLM
    re.compile(r"\$\{\{\s*env\s+[\"']([A-Za-z_][A-Za-z0-9_]*)[\"']\s*\}\}"),  # decK
    re.compile(r"\{\{\s*env\s+[\"']([A-Za-z_][A-Za-z0-9_]*)[\"']\s*\}\}"),  # Traefik's templates, KrakenD's
    re.compile(r"\{vault://env/([A-Za-z0-9_-]+)(?:/[^}]*)?\}"),  # Kong
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,31}) (\S.*)")


class NoteKind(StrEnum):
    """CHANGED: converted, but not quite the same. LEFT_OUT: without a counterpart. SECRET: a variable to set."""

    CHANGED = "changed"
    LEFT_OUT = "left out"
    SECRET = "secret"  # noqa: S105 - a kind of note


class Note(msgspec.Struct, frozen=True):
    """`path` is in the imported file."""

    kind: NoteKind
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}: {self.text}"


class Imported(msgspec.Struct, frozen=True):
    """A configuration of this gateway, of a file of `product`."""

    product: str
    structure: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def is_complete(self) -> bool:
        return all(note.kind is not NoteKind.LEFT_OUT for note in self.notes)


class Report:
    """Collects the notes of an import."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.subject = ""
        """The service that is being made: begins the names of its variables."""
        self._variables: dict[str, object] = {}

    def changed(self, path: Path, text: str) -> None:
        self._add(NoteKind.CHANGED, path, text)

    def left_out(self, path: Path, text: str = "no counterpart") -> None:
        self._add(NoteKind.LEFT_OUT, path, text)

    def secret(self, path: Path, value: object, name: str) -> str:
        """The reference that stands for a secret: `env:GATEWAY_SECRET_…`, after its scheme if it has one.

        `name` is of the variable, unless the value refers to one that has a name. Equal secrets are one variable.
        """
        text = str(value)
        form = _SCHEME.fullmatch(text)
        scheme, content = (f"{form[1]} ", form[2]) if form else ("", text)
        source = next((found[1] for form in _REFERENCES if (found := form.fullmatch(content.strip()))), None)
        variable = self._variable(source or name, content)
        self._add(NoteKind.SECRET, path, f"set {variable}" + (f", to what {source} has" if source else ""))
        return f"{scheme}env:{variable}"

    def header(self, path: Path, name: str, value: object) -> str:
        """The value of a header field: a reference if it is a secret, otherwise the text itself."""
        refers = any(form.search(str(value)) for form in _REFERENCES)
        return (
            self.secret(path, value, f"{self.subject}_{name}") if refers or is_secret(name, str(value)) else str(value)
        )

    def _variable(self, name: str, content: str) -> str:
        stem = PREFIX + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")[:MAX_NAME]
        variable, number = stem, 2
        while self._variables.setdefault(variable, content) != content:
            variable, number = f"{stem}_{number}", number + 1
        return variable

    def _add(self, kind: NoteKind, path: Path, text: str) -> None:
        note = Note(kind, format_path(path) or "the file", text)
        if note not in self.notes:
            self.notes.append(note)


class Section:
    """A mapping in the file. What has not been read of it is reported in the end, so that nothing is lost silently."""

    def __init__(self, value: object, path: Path, report: Report) -> None:
        self.path = path
        self.report = report
        self._rest: dict[str, Any] = {}
        if isinstance(value, dict):
            self._rest = {str(key): item for key, item in value.items()}
        elif value is not None:
            report.left_out(path, "is not a mapping")

    def __contains__(self, key: str) -> bool:
        return self._rest.get(key) is not None

    @property
    def names(self) -> list[str]:
        """The keys that have not been read."""
        return list(self._rest)

    def take(self, key: str, default: Any = None) -> Any:
        """The value, read; `default` if there is none or it is null."""
        found = self._rest.pop(key, None)
        return default if found is None else found

    def peek(self, key: str) -> str:
        """A text or number that remains to be read; empty for anything else."""
        found = self._rest.get(key)
        return "" if found is None or isinstance(found, dict | list) else str(found)

    def text(self, key: str, default: str = "") -> str:
        """A text, or a number as one; the default, and a note, for anything else."""
        found = self.take(key, default)
        if isinstance(found, dict | list):
            self.report.left_out((*self.path, key), "is not a text")
            return default
        return str(found)

    def number(self, key: str, default: float) -> float:
        """A number; the default, and a note, for anything else."""
        found = self.take(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float):
            self.report.left_out((*self.path, key), "is not a number")
            return default
        return found

    def whole(self, key: str, default: int) -> int:
        return int(self.number(key, default))

    def texts(self, key: str) -> list[str]:
        """A list of texts, or one text. What is none is reported."""
        found = self.take(key, [])
        texts = []
        for index, each in enumerate(found if isinstance(found, list) else [found]):
            if isinstance(each, dict | list):
                self.report.left_out((*self.path, key, index), "is not a text")
            elif each is not None:
                texts.append(str(each))
        return texts

    def item(self, key: str) -> "Section":
        return Section(self.take(key), (*self.path, key), self.report)

    def items(self, key: str) -> "list[Section]":
        """The mappings of a list."""
        found = self.take(key, [])
        if not isinstance(found, list):
            self.report.left_out((*self.path, key), "is not a list")
            return []
        return [Section(each, (*self.path, key, index), self.report) for index, each in enumerate(found)]

    def named(self, key: str) -> "dict[str, Section]":
        """The mappings of a mapping of names."""
        inner = self.item(key)
        return {name: Section(inner._rest.pop(name), (*inner.path, name), self.report) for name in list(inner._rest)}

    def default(self, key: str, *values: object) -> None:
        """A setting that is the default here: read if it has one of these values, otherwise reported."""
        if key in self and self._rest[key] in values:
            self._rest.pop(key)

    def without_effect(self, *keys: str) -> None:
        """Settings that say nothing about requests: names, comments, identifiers."""
        for key in keys:
            self._rest.pop(key, None)

    def explain(self, key: str, text: str) -> None:
        """Report a setting, if it is there, with what to do instead."""
        if key in self:
            self.report.left_out((*self.path, key), text)
        self._rest.pop(key, None)

    def finish(self) -> None:
        """Report what has not been read. A null, an empty text, list or mapping says nothing."""
        for key, value in self._rest.items():
            if value not in (None, "", [], {}):
                self.report.left_out((*self.path, key))
