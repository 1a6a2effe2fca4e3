"""`doctor` where the environment is invalid, and Django cannot be set up: the faults are all that it finds."""

from collections.abc import Iterable
from typing import Final

from gateway_project.doctor.finding import Finding, error, to_json, to_text

NAME: Final = "doctor"
FAILED: Final = 2
_ADVICE: Final = "correct the variable; .env.example has all of them"


def describe(faults: Iterable[str], arguments: list[str]) -> str:
    """The faults in the form that the command's arguments ask for."""
    findings: list[Finding] = []
    for fault in faults:
        name, _, message = fault.partition(": ")
        findings.append(error(name, message, _ADVICE))
    return to_json(findings) if "--json" in arguments else to_text(findings)
