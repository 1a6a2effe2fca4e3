"""What a check finds, and how it is shown."""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec


class Level(StrEnum):
    """OFF: not configured, which is fine. WARNING: the gateway works, but not as it should, or not under load."""

    OK = "ok"
    OFF = "off"
    WARNING = "warning"
    ERROR = "error"


EXIT_STATUS: Final = {Level.OK: 0, Level.OFF: 0, Level.WARNING: 1, Level.ERROR: 2}


class Finding(msgspec.Struct, frozen=True):
    """`message` and `advice` contain no secret. `advice` is what to do; empty if nothing is to be done."""

    check: str
    level: Level
    message: str
    advice: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def off(check: str, message: str) -> Finding:
    return Finding(check, Level.OFF, message)


def warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check, Level.WARNING, message, advice)


def error(check: str, message: str, advice: str) -> Finding:
    return Finding(check, Level.ERROR, message, advice)


def exit_status(findings: Iterable[Finding]) -> int:
    """0 if all is well, 1 for warnings, 2 for errors."""
    return max((EXIT_STATUS[finding.level] for finding in findings), default=0)


def to_json(findings: Sequence[Finding]) -> str:
    status = ("ok", "warning", "error")[exit_status(findings)]
    return json.dumps({"status": status, "findings": msgspec.to_builtins(findings)}, indent=2, ensure_ascii=False)


def to_text(findings: Sequence[Finding]) -> str:
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.check:<{width}}  {finding.message}")
        if finding.advice:
            lines.append(f"{'':<9}{'':<{width}}  -> {finding.advice}")
    counts = {level: sum(finding.level is level for finding in findings) for level in (Level.ERROR, Level.WARNING)}
    total = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count)
    return "\n".join([*lines, "", total or "no problems"])
