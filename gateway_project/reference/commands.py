"""The page of the management commands, from their parsers."""

from argparse import Action, ArgumentParser, HelpFormatter
from collections.abc import Iterator
from typing import Any, Final

from django.core.management import get_commands, load_command_class

from gateway_project.reference.markdown import block, code, page, table, text

_INTRODUCTION: Final = """\
Commands of `manage.py`, besides [Django's own](https://docs.djangoproject.com/en/5.2/ref/django-admin/). They read the
same environment as the gateway. Every command also takes Django's options, such as `--verbosity` and `--traceback`."""
_APPS: Final = ("gateway_project", "routing", "metrics")
_DJANGOS: Final = frozenset(
    {"help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks"}
)
"""Options that every command has."""
_WIDTH: Final = 96
"""Columns of a usage line."""


def commands_page() -> str:
    parts: list[str] = []
    for name, app in sorted(get_commands().items()):
        if app in _APPS:
            command: Any = load_command_class(str(app), name)
            parts += _command(name, command.create_parser("manage.py", name))
    return page("Commands", _INTRODUCTION, *parts)


def _command(name: str, parser: ArgumentParser, about: str = "", level: int = 2) -> Iterator[str]:
    """A section, and one below it for each subcommand. argparse has no public way to list what a parser accepts."""
    actions = [action for action in parser._actions if action.dest not in _DJANGOS]
    subcommands: list[Any] = [action for action in actions if isinstance(action.choices, dict)]
    arguments = [action for action in actions if action not in subcommands]
    yield f"{'#' * level} {code(name)}"
    yield text(_sentence(parser.description or about))
    if arguments or not subcommands:
        yield block("text", _usage(name, parser, actions))
    if arguments:
        yield table(("argument", ""), [(_names(action), text(_about(action))) for action in arguments])
    for action in subcommands:
        abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for subname, subparser in action.choices.items():
            yield from _command(f"{name} {subname}", subparser, abouts.get(subname, ""), level + 1)


def _usage(name: str, parser: ArgumentParser, actions: list[Action]) -> str:
    formatter = HelpFormatter(prog=f"python manage.py {name}", width=_WIDTH)
    groups = [group for group in parser._mutually_exclusive_groups if set(group._group_actions) <= set(actions)]
    formatter.add_usage(None, actions, groups, prefix="")
    return formatter.format_help()


def _names(action: Action) -> str:
    return ", ".join(map(code, action.option_strings)) or code(str(action.metavar or action.dest))


def _about(action: Action) -> str:
    """Its help, with the placeholders of argparse filled in, and the values that it accepts."""
    words = (action.help or "") % {**vars(action), "prog": "manage.py"}
    choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
    return "; ".join(filter(None, [words, choices]))


def _sentence(content: str) -> str:
    words = " ".join(content.split())
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}." if words else ""
