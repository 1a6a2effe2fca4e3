"""Django's sessions in the database."""

from django.contrib.sessions.backends import db

from gateway_project.sessions import SALT


class SessionStore(db.SessionStore):
    """Loads only sessions of the cookie's present name."""

    key_salt = SALT
