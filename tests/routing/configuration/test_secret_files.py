"""Secrets in files: which files may be read, what is a valid value, and when a change counts."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from routing.configuration.faults import UnresolvedSecret
from routing.configuration.secret_files import MAX_BYTES, SecretDirectories, WatchedSecrets, parse_sources


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    return secrets


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"t0ken", "t0ken"),
        (b"t0ken\n", "t0ken"),
        (b"t0ken\r\n", "t0ken"),
        (b"\xef\xbb\xbft0ken", "t0ken"),
        (b"a b", "a b"),
    ],
)
def test_a_value_is_the_files_text_without_the_line_break_at_its_end(
    directory: Path, content: bytes, value: str
) -> None:
    (directory / "x").write_bytes(content)
    assert SecretDirectories([directory]).read(str(directory / "x")) == value


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"x" * (MAX_BYTES + 1), "is larger than 512 kB"),
        (b"a\nb", "contains control characters"),
        (b"a\rb\n", "contains control characters"),
        (b"a\0b", "contains control characters"),
        (b" a", "leading or trailing white space"),
        (b"a \n", "leading or trailing white space"),
    ],
)
def test_anything_else_is_a_fault_that_shows_nothing_of_it(directory: Path, content: bytes, fault: str) -> None:
    (directory / "x").write_bytes(content)
    with pytest.raises(UnresolvedSecret) as error:
        SecretDirectories([directory]).read(str(directory / "x"))
    assert fault in str(error.value)
    assert content.strip() == b"" or content.decode() not in str(error.value)


def test_a_file_of_64_kb_is_read_whole(directory: Path) -> None:
    (directory / "x").write_bytes(b"x" * MAX_BYTES)
    assert len(SecretDirectories([directory]).read(str(directory / "x"))) == MAX_BYTES


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_a_fault(directory: Path) -> None:
    (directory / "x").write_text("x")
    (directory / "x").chmod(0)
    with pytest.raises(UnresolvedSecret, match="cannot be read: Permission denied"):
        SecretDirectories([directory]).read(str(directory / "x"))


def test_links_within_the_directories_are_followed_and_no_others(tmp_path: Path, directory: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text("value")
    (directory / "link").symlink_to(other / "x")
    (directory / "loop").symlink_to("loop")
    (tmp_path / "alias").symlink_to(directory)
    assert SecretDirectories([directory, other]).read(f"{tmp_path}/alias/link") == "value"
    with pytest.raises(ValueError, match="is not allowed") as refused:
        SecretDirectories([directory]).read(str(directory / "link"))
    assert not isinstance(refused.value, UnresolvedSecret)
    with pytest.raises(UnresolvedSecret, match="cannot be read: Too many levels of symbolic links"):
        SecretDirectories([directory]).read(str(directory / "loop"))


@pytest.mark.parametrize("path", ["{}/../x", "{}x", "{}", "/etc/passwd", "/proc/self/environ", "/no/such/file"])
def test_a_file_elsewhere_is_refused_whether_it_exists_or_not(tmp_path: Path, directory: Path, path: str) -> None:
    (tmp_path / "x").write_text("private")
    (tmp_path / "secretsx").write_text("private")
    with pytest.raises((ValueError, UnresolvedSecret)) as error:
        SecretDirectories([directory]).read(path.format(directory))
    assert "SECRETS_FROM" in str(error.value) or "not a regular file" in str(error.value)


def test_the_gateways_own_secrets_are_refused_unless_their_directory_is_listed(directory: Path) -> None:
    (directory / "firebase.json").write_text("{}")
    own = SecretDirectories([directory], [directory / "firebase.json"])
    with pytest.raises(ValueError, match="is not allowed"):
        own.read(str(directory / "firebase.json"))
    token = "/run/secrets/kubernetes.io/serviceaccount/token"
    with pytest.raises(ValueError, match="is not allowed"):
        SecretDirectories([Path("/run/secrets")]).read(token)


def test_sources_are_variables_and_directories(directory: Path) -> None:
    assert parse_sources(f"CRM_TOKEN, {directory}  OTHER,") == (("CRM_TOKEN", "OTHER"), (directory,))
    for path in ("/", "/proc/self", "/sys", "/dev/x", "/proc/../proc"):
        with pytest.raises(ValueError, match="is not a directory of secrets"):
            parse_sources(path)
    for word in ("secrets/crm", "./secrets", "C:/secrets", "CRM-TOKEN", "*"):
        with pytest.raises(ValueError, match="is neither the name of a variable nor the path"):
            parse_sources(f"CRM_TOKEN {word}")


class Files:
    """A lookup whose files a test sets: a text, or None for a missing one."""

    def __init__(self) -> None:
        self.content: str | None = "one"
        self.watched = WatchedSecrets(self.read)

    def read(self, name: str) -> str | None:
        if name == "VARIABLE":
            return "v"
        if self.content is None:
            raise UnresolvedSecret("the file /x does not exist")
        if self.content == "elsewhere":
            raise ValueError("file:/x is not allowed")
        return self.content

    def load(self) -> str | None:
        with self.watched.loading():
            return self.watched.value("file:/x")

    def change(self, content: str | None) -> list[bool]:
        """What two polls find after the change."""
        self.content = content
        return [self.watched.poll(), self.watched.poll()]


def test_a_change_counts_when_two_polls_find_the_same() -> None:
    files = Files()
    assert files.load() == "one"
    assert files.change("two") == [False, True]
    assert files.load() == "two"
    files.content = ""  # being written
    assert not files.watched.poll()
    assert files.change("three") == [False, True]
    assert files.change("three") == [False, False]
    assert files.watched.outdated("file:/x") is None


@pytest.mark.parametrize("content", [None, "elsewhere"])
def test_a_file_that_fails_keeps_its_last_value_and_says_so(content: str | None) -> None:
    files = Files()
    files.load()
    assert files.change(content) == [False, True]
    assert files.load() == "one"
    reason = files.watched.outdated("file:/x")
    assert reason is not None
    assert reason.endswith("; the last value read stays in use")
    assert files.change("one") == [False, True]
    assert files.watched.outdated("file:/x") is None


@pytest.mark.parametrize(("content", "error"), [(None, UnresolvedSecret), ("elsewhere", ValueError)])
def test_a_file_without_a_value_is_a_fault_until_it_has_one(content: str | None, error: type[Exception]) -> None:
    files = Files()
    files.content = content
    for _ in range(2):
        with pytest.raises(error) as raised:
            files.load()
        assert type(raised.value) is error
    assert files.watched.outdated("file:/x") is None
    assert files.change("one") == [False, True]
    assert files.load() == "one"


def test_a_file_that_is_no_longer_referred_to_is_not_polled_and_variables_never_are() -> None:
    files = Files()
    files.load()
    with files.watched.loading():
        assert files.watched.value("VARIABLE") == "v"
    files.content = "two"
    assert not any([files.watched.poll(), files.watched.poll()])


def test_a_replaced_directory_behind_a_link_is_read_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes may remove the old directory after the link was followed and before the file is opened."""
    (directory / "x").write_text("value")
    opened: list[str] = []
    real_open: Callable[..., int] = os.open

    def racing_open(path: str, *arguments: int, **more: int) -> int:
        opened.append(str(path))
        if len(opened) == 1:
            raise FileNotFoundError
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", racing_open)
    assert SecretDirectories([directory]).read(str(directory / "x")) == "value"
