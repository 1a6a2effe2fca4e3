"""How mails about alerts are sent: from the environment. No Django, which reads it first."""

from typing import NamedTuple


class SmtpServer(NamedTuple):
    """`is_tls`: encrypted from the start; `starttls`: before anything else is sent."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    is_tls: bool = False
    starttls: bool = True


class AlertSettings(NamedTuple):
    """`smtp` is None if no mail can be sent. `sender` is the address that mails are from, and `link` that of staff's
    pages, if it is known.
    """

    smtp: SmtpServer | None = None
    sender: str = ""
    link: str = ""
