"""`config diff`: what applying a file would change, in the database or in a running gateway."""

import json
import os
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from django.core.management.base import CommandError, OutputWrapper

from routing.configuration.document import Document, canonical, dump
from routing.configuration.literals import literal_secrets
from routing.database import masking
from routing.database.document_diff import document_diff, text_lines

DIFFERENT: Final = 1
FAILED: Final = 2
"""Exit statuses, as those of diff(1)."""
KEY_VARIABLE: Final = "GATEWAY_KEY"
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0
_PATH: Final = "/api/config"
_USER: Final = re.compile(r"(?<=:)//.*@")
_KEY_FORM: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write the differences as JSON")
    parser.add_argument("--url", help="compare with the gateway that runs at this address, not with the database")
    parser.add_argument(
        "--key",
        help=f"an API key with scope config:read; rather set {KEY_VARIABLE}, which no process list shows",
    )
    parser.add_argument("--key-file", help="a file that contains the key")


def run(document: Document, file: str, options: dict[str, Any], out: OutputWrapper) -> int:
    """Write the differences, and return the exit status. Raises CommandError and OSError."""
    if options["url"]:
        found = _remote(document, options["url"], _key(options))
        lines: Iterable[str] = (f"{line}\n" for line in text_lines(found))
    else:
        stored, wanted = _masked(document.structure)
        found = document_diff(stored, wanted).to_document()
        lines = _unified(stored, wanted, file)
    is_different = any(found[verb] for verb in ("created", "changed", "deleted"))
    if options["json"]:
        verbs = {verb: found[verb] for verb in ("created", "changed", "deleted")}
        out.write(json.dumps({"different": is_different, **verbs}, indent=2, ensure_ascii=False))
    elif is_different:
        out.writelines(lines)
    else:
        out.write("no differences")
    return DIFFERENT if is_different else 0


def _masked(structure: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The database's document and the file's in canonical form, so that equal secrets are equal masks."""
    stored = masking.whole_document().structure
    for section in {"teams", "consumers"} - {name for name, items in structure.items() if items is not None}:
        stored.pop(section, None)  # `apply` leaves them as they are
    return canonical(stored), canonical(masking.mask(structure).structure)


def _unified(stored: dict[str, Any], wanted: dict[str, Any], file: str) -> Iterator[str]:
    before, after = (dump(document).splitlines() for document in (stored, wanted))
    for line in unified_diff(before, after, "database", file, lineterm=""):
        yield f"{line}\n"


def _key(options: dict[str, Any]) -> str:
    """Without the line break that secrets of pipelines often end with."""
    if options["key_file"]:
        key = Path(options["key_file"]).read_text(encoding="utf-8").strip()
    else:
        key = (options["key"] or os.environ.get(KEY_VARIABLE, "")).strip()
    if not key:
        raise CommandError(f"--url needs an API key, in {KEY_VARIABLE}, --key-file or --key", returncode=FAILED)
    if not _KEY_FORM.fullmatch(key):  # the client's own error would show it
        raise CommandError("the API key has a character that no key has", returncode=FAILED)
    return key


def _address(url: str) -> str:
    """Raises CommandError, which does not show the address: a mistaken one may contain a password."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query + parts.fragment
    except ValueError:
        is_valid = False
    if not is_valid:
        form = "http://HOST or https://HOST, without a query or a fragment"
        raise CommandError(f"--url must be the gateway's address, {form}", returncode=FAILED)
    return f"{url.rstrip('/').removesuffix(_PATH)}{_PATH}"


def _remote(document: Document, url: str, key: str) -> dict[str, Any]:
    """What a dry run of the running gateway reports. Raises CommandError."""
    query = {"dry_run": "1", "prune": "1", "allow_missing_secrets": "1"}
    if literal_secrets(document.structure):
        query["allow_literal_secrets"] = "1"
    address = _address(url)
    shown = _USER.sub("//", address)
    try:
        response = requests.put(
            address,
            params=query,
            data=json.dumps(document.structure).encode(),
            headers={"X-API-Key": key, "If-Match": "*", "Content-Type": "application/json"},
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,  # the key is for this address
        )
    except (requests.RequestException, ValueError) as error:
        raise CommandError(f"{shown}: {_reason(error)}", returncode=FAILED) from None
    if response.status_code != requests.codes.ok:
        raise CommandError(f"{shown}: {_problem(response)}", returncode=FAILED)
    try:
        found: dict[str, Any] = response.json()
        return {verb: found[verb] for verb in ("created", "changed", "deleted")}
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{shown}: the response is not that of a gateway", returncode=FAILED) from None


def _reason(error: Exception) -> str:
    """Without the objects that the client's errors show."""
    match error:
        case requests.exceptions.SSLError():
            return "the server's certificate cannot be verified"
        case requests.Timeout():
            return "no response in time"
        case requests.ConnectionError():
            return "cannot connect"
    return str(error)


def _problem(response: requests.Response) -> str:
    """The problem document's faults, or else the status."""
    if response.is_redirect:
        return f"redirects to {response.headers['Location']}: give the gateway's own address"
    try:
        problem = response.json()
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", ())]
        return "\n".join([f"{response.status_code} {problem['code']}: {problem['detail']}", *faults])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {response.status_code}"
