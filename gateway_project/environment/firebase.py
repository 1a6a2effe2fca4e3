"""Where Firebase ID tokens come from."""

from pathlib import Path

import msgspec

from gateway_project.environment.extras import missing_extra
from gateway_project.environment.values import Get, boolean, file


class Firebase(msgspec.Struct, frozen=True):
    """The project whose tokens are accepted. `credentials` is the file of a service account, which looks up users."""

    project: str | None
    credentials: Path | None
    emulator: str | None
    check_revoked: bool = False


def read(get: Get) -> Firebase:
    return Firebase(
        get("FIREBASE_PROJECT_ID", None, str),
        get("FIREBASE_CREDENTIALS", None, file),
        get("FIREBASE_AUTH_EMULATOR_HOST", None, str),
        get("FIREBASE_CHECK_REVOKED", False, boolean),
    )


def faults(firebase: Firebase, *, debug: bool) -> list[str]:
    """What is contradictory, or would allow tokens to be forged."""
    found = []
    if firebase.project:
        found += missing_extra("FIREBASE_PROJECT_ID", "Firebase", "firebase", "firebase_admin")
    if firebase.emulator and not debug:
        found.append("FIREBASE_AUTH_EMULATOR_HOST: not allowed unless DEBUG is on: the emulator accepts forged tokens")
    if firebase.emulator and not firebase.project:
        found.append("FIREBASE_AUTH_EMULATOR_HOST: requires FIREBASE_PROJECT_ID")
    if firebase.check_revoked and not (firebase.credentials or firebase.emulator):
        found.append("FIREBASE_CHECK_REVOKED: requires FIREBASE_CREDENTIALS: users are looked up with them")
    return found
