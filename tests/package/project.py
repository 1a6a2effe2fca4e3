"""A project made by `startproject`, with its own users, templates, middleware and URLs, that includes the gateway."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import requests

from tests.ports import free_port
from tests.processes import eventually

EMAIL: Final = "ada@shop.example"
PASSWORD: Final = "of the tests alone"
MODELS: Final = """
from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models


class People(BaseUserManager):
    def create_superuser(self, email, password):
        person = self.model(email=email, is_staff=True, is_superuser=True)
        person.set_password(password)
        person.save()
        return person


class Person(AbstractUser):
    username = None
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = People()
"""
VIEWS: Final = """
from django.http import HttpResponse, JsonResponse


class Middleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Project"] = "shop"
        return response


def page(request):
    return HttpResponse("the shop's page")


def backend(request, rest):
    cookies = sorted(request.COOKIES)
    return JsonResponse({"path": request.path, "cookies": cookies}, headers={"Cache-Control": "public, max-age=60"})
"""
URLS: Final = """
from django.contrib import admin
from django.urls import include, path

from accounts import views

urlpatterns = [
    path("", views.page),
    path("events", views.page),
    path("api/v1/orders/", views.page),
    path("backend/<path:rest>", views.backend),
    path("admin/", admin.site.urls),
    INCLUDED
]
"""
SETTINGS: Final = """
AUTH_USER_MODEL = "accounts.Person"
MIDDLEWARE.insert(0, "accounts.views.Middleware")
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
STATIC_URL = "assets/"
DATABASES["default"]["OPTIONS"] = {
    "init_command": "PRAGMA journal_mode=WAL;", "transaction_mode": "IMMEDIATE", "timeout": 10
}
REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
"""
LEAVING: Final = 'Gateway(django, leave=["/events"])'
OWN: Final = {
    "admin/base_site.html": '{% extends "admin/base.html" %}{% block branding %}The shop{% endblock %}',
    "dashboard/base.html": "The shop",
    "dashboard/overview.html": "The shop",
    "error.html": "The shop",
}
"""Templates that the gateway or its admin's theme has too."""


class Environment(Protocol):
    def run(self, *command: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str: ...

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]: ...


@dataclass
class Project:
    """`staff` is signed in at the project's own admin."""

    directory: Path
    installed: Environment
    port: int
    key: str
    staff: requests.Session

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def manage(self, *arguments: str) -> str:
        return self.installed.run("manage.py", *arguments, cwd=self.directory)

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(f"{self.address}{path}", headers=headers, timeout=30, allow_redirects=False)


def write(directory: Path, apps: str, url: str, asgi: str) -> None:
    """The project's files; `apps`, `url` and `asgi` are what its authors add for the gateway."""
    package, accounts = directory / "shop", directory / "accounts"
    accounts.mkdir()
    for name, content in (("__init__", ""), ("models", MODELS), ("views", VIEWS)):
        (accounts / f"{name}.py").write_text(content)
    for name, content in OWN.items():
        (directory / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "templates" / name).write_text(content)
    settings = package / "settings.py"
    settings.write_text(settings.read_text().replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'accounts',", 1))
    head, _, rest = settings.read_text().partition("]\n\nMIDDLEWARE")
    settings.write_text(f"{head}{apps}]\n\nMIDDLEWARE{rest}{SETTINGS}")
    (package / "urls.py").write_text(URLS.replace("INCLUDED", url))
    (package / "asgi.py").write_text(asgi.replace("mysite", "shop").replace("Gateway(django)", LEAVING))


@contextmanager
def projects(installed: Environment, directory: Path) -> Iterator[Project]:
    installed.run("-m", "django", "startproject", "shop", ".", cwd=directory)
    write(directory, *documented())
    port = free_port()
    made = Project(directory, installed, port, "", requests.Session())
    made.manage("makemigrations", "accounts")
    made.manage("migrate", "--verbosity", "0")
    (directory / "gateway.yaml").write_text(
        f'version: 1\nservices: {{crm: {{targets: [{{url: "http://127.0.0.1:{port}/backend"}}]}}}}\n'
    )
    made.manage("config", "apply", "gateway.yaml")
    made.key = made.manage("apikey", "create", "tests", "--scope", "crm").split()[-1]
    create = f"from accounts.models import Person; Person.objects.create_superuser({EMAIL!r}, {PASSWORD!r})"
    made.manage("shell", "--no-imports", "-c", create)
    with (directory / "log").open("wb") as log:
        command = [sys.executable, "-m", "uvicorn", "shop.asgi:application", "--port", str(port)]
        process = subprocess.Popen(command, cwd=directory, env=installed.environment(), stdout=log, stderr=log)
    try:
        assert eventually(lambda: "running on" in made.log, 60), made.log
        made.staff = signed_in(made.address)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        print(made.log[-4_000:])  # noqa: T201 - shown for a test that has failed


def signed_in(address: str) -> requests.Session:
    session = requests.Session()
    session.get(f"{address}/admin/login/", timeout=30)
    form = {"username": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    done = session.post(
        f"{address}/admin/login/", data=form, headers={"Referer": address}, timeout=30, allow_redirects=False
    )
    assert done.status_code == 302, done.text
    return session


def documented() -> tuple[str, str, str]:
    """What docs/django-project.md adds to INSTALLED_APPS, to the URLs, and its asgi.py."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "django-project.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    apps = next(block for block in blocks if "INSTALLED_APPS" in block)
    lines = [line for line in apps.splitlines() if line.startswith("    ") and "..." not in line]
    url = next(line.strip() for block in blocks for line in block.splitlines() if "included.urls" in line)
    asgi = next(block for block in blocks if "get_asgi_application" in block)
    return "".join(f"{line}{os.linesep}" for line in lines), url, asgi
