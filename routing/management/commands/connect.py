"""Connect a well-known API: ask for what its preset lacks, write the service, and try its credential."""

import json
import shlex
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routing import runtime
from routing.configuration.conditions import conditions
from routing.configuration.decode import VERSION, decode, service_name
from routing.configuration.document import dump
from routing.configuration.faults import ConfigurationError, UnresolvedSecret
from routing.configuration.literals import literal_secrets
from routing.configuration.values import SecretLookup
from routing.database.actor import acting_as, command_user
from routing.database.apply import apply_document
from routing.errors import CallFailed, GatewayError
from routing.http import Request, Response
from routing.management.approval import add_emergency, submitted
from routing.messages.bodies import read_up_to
from routing.messages.conditions import MAX_BODY
from routing.models import Service
from routing.presets import shipped
from routing.presets.connect import service_settings
from routing.presets.shipped import Connection, Question, ServicePreset
from routing.router.hosts import first_name
from routing.router.paths import PREFIX
from routing.runtime import Runtime
from routing.warming import LOCAL_HOST

SHOWN_BYTES: Final = 300
"""How much is shown of a response that is not as expected."""
_NAME: Final = "name"


class Command(BaseCommand):
    help = "Write a service for a well-known API, and try its credential by a harmless request."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("preset", help=f"one of {', '.join(shipped.names())}")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="an answer, such as secret=env:GATEWAY_SECRET_SLACK; repeatable. What is left is asked for",
        )
        parser.add_argument("--no-input", action="store_true", help="ask nothing: take the default of what is not set")
        parser.add_argument("--skip-check", action="store_true", help="do not try the credential")
        parser.add_argument("--replace", action="store_true", help="replace a service of this name")
        add_emergency(parser)

    def handle(self, *, preset: str, no_input: bool, skip_check: bool, replace: bool, **options: Any) -> None:
        try:
            found = shipped.preset(preset)
        except ValueError as error:
            raise CommandError(str(error)) from None
        answers = self._answers(found, options["set"], no_input)
        name = answers.pop(_NAME)
        self._missing: set[str] = set()
        secret = self._known_or_empty if skip_check else settings.CONFIG.secret
        service = service_settings(preset, found, answers)
        self._write(name, service, secret, replace=replace, emergency=options["emergency"])
        if not skip_check:
            self._try(name, found.connect)
        self.stdout.write("Try it with a key from `manage.py apikey create`:")
        address = f"{settings.CONFIG.server.address}{PREFIX.decode()}{name}{found.connect.example}"
        fields = "".join(f" -H {shlex.quote(f'{field}: {value}')}" for field, value in found.connect.headers.items())
        self.stdout.write(f'  curl -i -H "X-API-Key: $KEY"{fields} {shlex.quote(address)}')

    def _known_or_empty(self, name: str) -> str:
        """The secret. One that is missing here is warned of, as the gateway may run with another environment."""
        reason = f"{name} is not set here"
        try:
            value = settings.CONFIG.secret(name)
        except UnresolvedSecret as error:
            value, reason = None, str(error)
        if not value and reason not in self._missing:
            self._missing.add(reason)
            self.stderr.write(f"warning: {reason}; the gateway needs it to load the service", self.style.WARNING)
        return value or ""

    def _answers(self, found: ServicePreset, given: list[str], no_input: bool) -> dict[str, str]:
        """What was given, asked for or left at its default, by the questions' keys and `name`. Raises CommandError."""
        questions = [Question(key=_NAME, text="Name of the service", default=found.connect.name), *found.connect.ask]
        answers = {key: value for key, _, value in (pair.partition("=") for pair in given)}
        unknown = answers.keys() - {question.key for question in questions}
        if unknown:
            known = ", ".join(question.key for question in questions)
            raise CommandError(f"--set has no {', '.join(sorted(unknown))} (known: {known})")
        for question in questions:
            if question.key not in answers:
                answers[question.key] = question.default if no_input else self._ask(question)
            if not answers[question.key]:
                raise CommandError(f"{question.text}: an answer is needed; use --set {question.key}=...")
        return answers

    def _ask(self, question: Question) -> str:
        if not sys.stdin.isatty():
            raise CommandError(f"nobody can be asked for {question.key}: use --set {question.key}=... or --no-input")
        hint = f" [{question.default}]" if question.default else ""
        try:
            return input(f"{question.text}{hint}: ").strip() or question.default
        except (EOFError, KeyboardInterrupt):
            self.stdout.write("")
            raise CommandError("nothing was written") from None

    def _write(
        self, name: str, service: dict[str, Any], secret: SecretLookup, *, replace: bool, emergency: str | None
    ) -> None:
        """Write the service. Raises CommandError, and writes nothing, if it has faults or a secret as it is."""
        structure = {"version": VERSION, "services": {name: service}}
        try:
            service_name(name)
            faults = literal_secrets(structure)
            if faults:
                raise ConfigurationError(faults)
            decode(structure, secret, is_part=True)
            if not replace and Service.objects.filter(name=name).exists():
                raise CommandError(f"there is a service {name} already; use --replace to replace it")
            with acting_as(command_user()):
                changes = submitted(lambda: apply_document(structure, delete=()), "connect", emergency)
        except (ConfigurationError, UnresolvedSecret, ValueError) as error:
            raise CommandError(f"nothing was written: {error}") from None
        self.stdout.write(dump(structure), ending="")
        self.stdout.write(f"{'created' if changes.created else 'updated' if changes.updated else 'unchanged:'} {name}")

    def _try(self, name: str, connection: Connection) -> None:
        """Send the preset's check through the gateway. Raises CommandError if the response is not as expected."""
        check = connection.check
        current = runtime.current()
        standalone = not current.started
        current.opened()
        try:
            status, headers, body = current.wait_for(_send(current, name, connection))
        except GatewayError as error:
            reason = error.reason if isinstance(error, CallFailed) else error.detail
            raise CommandError(f"the service is written, but the request failed: {reason}") from None
        finally:
            if standalone:
                current.wait_for(current.stop())
        expected = check.expect or {"status": 200}
        if not conditions(expected).matches(status, headers, body):
            shown = body[:SHOWN_BYTES].decode("utf-8", "replace")
            raise CommandError(
                f"the service is written, but {check.method} {check.path} returned {status}: {shown}\n"
                f"expected: {json.dumps(expected)}"
            )
        self.stdout.write(f"the credential works: {check.method} {check.path} returned {status}")


async def _send(current: Runtime, name: str, connection: Connection) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    check = connection.check
    path, _, query = check.path.encode().partition(b"?")
    headers = [(b"host", first_name(settings.ALLOWED_HOSTS, LOCAL_HOST).encode()), (b"cache-control", b"no-store")]
    headers += [(field.lower().encode(), value.encode()) for field, value in connection.headers.items()]
    if check.method == "POST":
        headers.append((b"content-length", b"0"))
    request = Request(check.method, PREFIX + name.encode() + path, query, headers, "127.0.0.1")
    response = await current.gateway.refetch(request)
    return response.status, response.headers, await _body(response)


async def _body(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    chunks, _ = await read_up_to(response.body, MAX_BODY)
    return b"".join(chunks)
