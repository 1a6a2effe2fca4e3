"""`makemessages`: Django's, which also knows the gateway's function for plurals in JavaScript."""

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """`plural(number, "request", "requests")` of metrics/static/dashboard/i18n.js."""

    xgettext_options = [*makemessages.Command.xgettext_options, "--keyword=plural:2,3"]  # noqa: RUF012 - as Django's
