"""What a person sees of a connected account."""

from datetime import datetime
from typing import NamedTuple

from routing.credentials.grants import Subject
from routing.models import BackendCredential


class AccountState(NamedTuple):
    is_connected: bool = False
    account: str = ""
    connected_at: datetime | None = None
    failure: str = ""


def account_state(service: str, subject: Subject) -> AccountState:
    row = BackendCredential.objects.filter(service=service, subject=subject.id).exclude(refresh_token="").first()
    return AccountState() if row is None else AccountState(True, row.account, row.connected_at, row.failure)
