"""The steps of the Dockerfile, run without Docker, and the server they make, run as the image runs it."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.deploy import dockerfile
from tests.ports import free_port

pytestmark = pytest.mark.slow

NOBODY = 65534
SECRET = "a-secret-key-of-at-least-32-characters"


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The image's root, readable for everybody."""
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    try:
        dockerfile.build(root)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def container(image: Path, **variables: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The ENTRYPOINT as process 1, where namespaces are allowed, and as a user who can write to one directory alone."""
    stage, settings = dockerfile.runtime(image)
    port = free_port()
    writable = Path(tempfile.mkdtemp(prefix="c-"))
    writable.chmod(0o777)
    environment = {
        **stage.environment,
        "SECRET_KEY": SECRET,
        "DATABASE_URL": f"sqlite:///{writable}/gateway.sqlite3",
        "PORT": str(port),
        "HOME": "/nonexistent",
        "DRAIN_SECONDS": "0",
        "TMPDIR": str(writable),
        **variables,
    }
    process = subprocess.Popen(
        [*_isolation(), *dockerfile.command(settings["ENTRYPOINT"])],
        cwd=stage.path("/app"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        head = b""
        while b"ready\n" not in head:
            line = process.stdout.readline()
            assert line, head.decode()
            head += line
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        shutil.rmtree(writable, ignore_errors=True)


def _isolation() -> list[str]:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return []
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    works = subprocess.run([*namespace, *drop, "true"], capture_output=True, check=False).returncode == 0
    return [*namespace, *drop] if works else drop


def first_process(process: "subprocess.Popen[bytes]") -> int:
    """The server: the child of unshare, which has forked it as process 1 of the namespace."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if _isolation()[:1] == ["unshare"] else process.pid


def get(port: int, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=30)


def is_healthy(image: Path, **variables: str) -> bool:
    stage, settings = dockerfile.runtime(image)
    check = dockerfile.command(settings["HEALTHCHECK"])
    environment = {**stage.environment, **variables}
    return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0


def test_the_image_serves_is_healthy_and_stops_when_it_is_told_to(image: Path) -> None:
    with container(image) as (process, port):
        assert get(port, "/health/ready").status_code == 200
        assert is_healthy(image, PORT=str(port), http_proxy="http://127.0.0.1:9")
        assert not is_healthy(image, PORT=str(free_port()))
        os.kill(first_process(process), signal.SIGTERM)
        assert process.wait(30) == 0
        assert not is_healthy(image, PORT=str(port))


def test_pages_have_static_files_that_browsers_keep(image: Path) -> None:
    with container(image, STAFF_SECOND_FACTOR="optional") as (_, port):
        page = get(port, "/accounts/login/").text
        links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
        assert links
        for link in links:
            assert re.search(r"\.[0-9a-f]{12}\.", link), link
            response = get(port, link)
            assert (response.status_code, response.headers["Cache-Control"]) == (
                200,
                "max-age=315360000, public, immutable",
            )


def test_everything_is_compiled_and_nothing_of_it_can_be_written(image: Path) -> None:
    sources = [path for path in (image / "app").rglob("*.py") if path.is_file()]
    assert len(sources) > 300
    missing = [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-3*.pyc"))]
    assert missing == []
    assert list(image.glob("opt/venv/lib/*/site-packages/django/__pycache__/*.pyc"))
    writable = [path for path in (image / "app").rglob("*") if path.stat().st_mode & 0o022]
    assert writable == []


def test_the_image_has_no_pip_and_nothing_that_is_not_needed(image: Path) -> None:
    assert list(image.glob("opt/venv/bin/pip*")) == []
    names = {path.name for path in (image / "app").iterdir()}
    assert not names & {"tests", "docs", ".git", ".env", "var", "deploy"}
    assert list(image.glob("opt/venv/lib/*/site-packages/psycopg"))
    assert not list(image.glob("opt/venv/lib/*/site-packages/opentelemetry/sdk"))


def test_the_user_is_a_number_that_is_not_root_and_that_the_chart_names() -> None:
    _, settings = dockerfile.runtime(Path("/"))
    assert settings["USER"] == "10001:10001"
    assert "--uid 10001 --gid 10001" in settings["RUN"]
    values = (dockerfile.ROOT / "deploy/helm/intelligence-gateway/values.yaml").read_text()
    assert "runAsUser: 10001" in values


def test_both_stages_have_the_base_that_is_pinned_by_its_digest() -> None:
    """`make image-base` writes it into this one line."""
    found = dockerfile.instructions()
    assert found[0][0] == "ARG"
    assert re.fullmatch(r"BASE=python:3\.\d+-slim@sha256:[0-9a-f]{64}", found[0][1])
    assert [argument.split()[0] for name, argument in found if name == "FROM"] == ["${BASE}", "${BASE}"]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A directory with the recipe, in which `docker` prints `digest`, and writes its other commands to `built`."""
    for name in ("Makefile", "Dockerfile", "pyproject.toml"):
        shutil.copy(dockerfile.ROOT / name, tmp_path)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\ncase "$*" in *imagetools*) cat digest ;; *) echo "$*" >> built ;; esac\n')
    docker.chmod(0o755)
    return tmp_path


def make(directory: Path, target: str, digest: str) -> subprocess.CompletedProcess[str]:
    (directory / "digest").write_text(digest)
    environment = {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    command = ["make", "--old-file", "sbom", target, "IMAGE=registry.example.com/gateway"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def test_the_recipe_of_a_release_pins_the_base_and_refuses_one_without_a_digest(release: Path) -> None:
    digest, file = f"sha256:{'0a' * 32}", release / "Dockerfile"
    before = file.read_text()
    for wrong in ("", "no such manifest\n", "sha256:abc\n", f"{digest}|; s|x|y\n"):
        assert make(release, "image-base", wrong).returncode
        assert file.read_text() == before
    assert make(release, "image-base", f"{digest}\n").returncode == 0
    assert f"\nARG BASE=python:3.12-slim@{digest}\n" in file.read_text()
    assert len(set(before.splitlines()) ^ set(file.read_text().splitlines())) == 2
    assert make(release, "image", f"{digest}\n").stderr == ""
    assert "image-base renews it" in make(release, "image", f"sha256:{'0b' * 32}\n").stderr
    assert make(release, "image", "").returncode == 0
    file.write_text(before.replace("@sha256:", ":"))
    built = (release / "built").read_text()
    refused = make(release, "image", "")
    assert (refused.returncode, "make image-base" in refused.stdout) == (2, True)
    assert (release / "built").read_text() == built
    assert (
        built.count("buildx build --pull --provenance mode=max --sbom=true --tag registry.example.com/gateway:0.2.0")
        == 3
    )
