"""Secrets in files, as Docker and Kubernetes mount them: where they may be, how they are read, and when they change.

A file is polled and read again, not watched: Kubernetes replaces the directory behind a symbolic link, of which a
watch on the file learns nothing.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from routing.configuration.faults import UnresolvedSecret
from routing.configuration.headers import FILE, value_fault
from routing.configuration.values import SecretLookup

DEFAULT_DIRECTORY: Final = Path("/run/secrets")
SERVICE_ACCOUNT: Final = Path("/run/secrets/kubernetes.io")
"""Where Kubernetes puts the credentials of the gateway's own pod."""
SYSTEM_DIRECTORIES: Final = frozenset({"proc", "sys", "dev"})
"""Their files are the kernel's: /proc has the environment of every process."""
MAX_BYTES: Final = 512 * 1024
"""Enough for all public authorities, in PEM."""
_WORD: Final = re.compile(r"/|[A-Za-z_][A-Za-z0-9_]*\Z")
_ATTEMPTS: Final = 2
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


Sources = tuple[tuple[str, ...], tuple[Path, ...]]
NO_SOURCES: Final[Sources] = ((), ())


def parse_sources(text: str) -> Sources:
    """The variables and the directories that SECRETS_FROM lists. Raises ValueError."""
    words = re.split(r"[,\s]+", text.strip(", \t\n"))
    wrong = next((word for word in words if word and not _WORD.match(word)), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong!r} is neither the name of a variable nor the path of a directory, which begins with /"
        )
    directories = tuple(Path(word) for word in words if word.startswith("/"))
    for directory in directories:
        parts = _real(directory).parts
        if len(parts) < 2 or parts[1] in SYSTEM_DIRECTORIES:
            raise ValueError(f"{str(directory)!r} is not a directory of secrets")
    return tuple(word for word in words if word and not word.startswith("/")), directories


class SecretDirectories:
    """The directories whose files services may refer to, except what is in `refused` or is one of these files."""

    def __init__(self, directories: Iterable[Path], refused: Iterable[Path] = ()) -> None:
        self._directories = tuple(directories)
        listed = {_real(directory) for directory in self._directories}
        self._refused = [path for path in (SERVICE_ACCOUNT, *refused) if _real(path) not in listed]

    def read(self, path: str) -> str:
        """The file's text without the line break at its end.

        Raises ValueError if the file may not be used, and UnresolvedSecret if it cannot be read or has no valid value.
        """
        try:
            raw = self._read(path)
        except FileNotFoundError:
            raise UnresolvedSecret(f"the file {path} does not exist") from None
        except OSError as error:
            raise UnresolvedSecret(f"the file {path} cannot be read: {error.strerror}") from None
        text = raw.decode("utf-8", "surrogateescape").removeprefix("\ufeff").rstrip("\r\n")
        fault = "is larger than 512 kB" if len(raw) > MAX_BYTES else _fault(text) if text else "is empty"
        if fault is not None:
            raise UnresolvedSecret(f"the file {path} {fault}")
        return text

    def _read(self, path: str) -> bytes:
        for _ in range(_ATTEMPTS):
            try:
                return _read(self._resolve(path))
            except FileNotFoundError:
                continue  # meanwhile the directory that a symbolic link leads to may have been replaced
        return _read(self._resolve(path))

    def _resolve(self, path: str) -> Path:
        """The file behind symbolic links, which may not lead out of the directories."""
        target = _real(Path(path))
        refused = any(target.is_relative_to(_real(refused)) for refused in self._refused)
        if refused or not any(target.is_relative_to(_real(directory)) for directory in self._directories):
            names = ", ".join(map(str, self._directories))
            raise ValueError(
                f"{FILE}{path} is not allowed: services' secrets are in {names}; SECRETS_FROM lists other directories"
            )
        return target


class _Found(NamedTuple):
    """The result of reading a file: its value or its fault. `is_refused`: it may not be used at all."""

    value: str | None
    fault: str = ""
    is_refused: bool = False


class WatchedSecrets:
    """Secrets as a running worker uses them. Blocks, so it runs in the reloader's thread.

    A file that becomes invalid or disappears keeps the last value read. A change counts once two polls have found the
    same, since a file that is written in place is empty or incomplete for a moment.
    """

    def __init__(self, lookup: SecretLookup) -> None:
        self._lookup = lookup
        self._files: dict[str, _WatchedFile] = {}
        self._used: set[str] = set()

    def value(self, name: str) -> str | None:
        """A SecretLookup."""
        if not name.startswith(FILE):
            return self._lookup(name)
        self._used.add(name)
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _WatchedFile(self._find(name))
        if file.value is None:
            raise (ValueError if file.current.is_refused else UnresolvedSecret)(file.current.fault)
        return file.value

    def outdated(self, name: str) -> str | None:
        """Why the value in use is an earlier one, or None if it is current."""
        file = self._files.get(name)
        if file is None or file.value is None or not file.current.fault:
            return None
        return f"{file.current.fault}; the last value read stays in use"

    def poll(self) -> bool:
        """Read all files in use, and return whether one has changed."""
        changes = [file.update(self._find(name)) for name, file in self._files.items()]
        return any(changes)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Forget the files that the block has not used, if it succeeds."""
        self._used = set()
        yield
        self._files = {name: file for name, file in self._files.items() if name in self._used}

    def _find(self, name: str) -> _Found:
        try:
            return _Found(self._lookup(name))
        except ValueError as error:
            return _Found(None, str(error), is_refused=not isinstance(error, UnresolvedSecret))


class _WatchedFile:
    """`current` is what the file is; `value` is the last value that it had, if any."""

    def __init__(self, found: _Found) -> None:
        self.current, self.value = found, found.value
        self._candidate = found

    def update(self, found: _Found) -> bool:
        is_settled, self._candidate = found == self._candidate, found
        if not is_settled or found == self.current:
            return False
        self.current = found
        self.value = self.value if found.value is None else found.value
        return True


def _fault(text: str) -> str | None:
    """What makes a file's content invalid. Several lines are valid here, as of a key in PEM; header fields are checked
    where they are used.
    """
    is_lines = text.startswith("{") or "-----BEGIN " in text
    return None if is_lines and "\0" not in text else value_fault(text)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _read(path: Path) -> bytes:
    """At most one byte more than allowed. Raises OSError, also for anything but a regular file."""
    descriptor = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
