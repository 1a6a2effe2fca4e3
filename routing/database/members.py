"""Invites the people of a consumer to the portal, and makes them Django users. Links are not stored."""

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from routing.database.actor import current_actor
from routing.models import Consumer, Member

LINK_LIFETIME: Final = timedelta(days=7)
MAX_MEMBERS: Final = 100
"""The most members of one consumer, with those who are only invited."""


class NotPossible(Exception):
    """Why somebody cannot be invited or cannot join: a text for the page."""


def invite(consumer: Consumer, email: str, role: str) -> tuple[Member, str]:
    """Add a member, and return the secret of the link with which they join. Raises NotPossible and ValidationError."""
    with transaction.atomic():
        Consumer.objects.select_for_update().get(pk=consumer.pk)
        if consumer.members.count() >= MAX_MEMBERS:
            raise NotPossible(_("A consumer has at most %(number)s members.") % {"number": MAX_MEMBERS})
        member = Member(consumer=consumer, email=email.strip().lower(), role=role, invited_by=current_actor().name)
        member.full_clean()
        return member, new_link(member)


def new_link(member: Member) -> str:
    """A new link in place of any earlier one: to join, or to set another password."""
    secret = secrets.token_urlsafe(32)
    member.link_digest, member.link_ends = _digest(secret), timezone.now() + LINK_LIFETIME
    member.save()
    return secret


def by_link(secret: str) -> Member | None:
    """Whose link this is. None if it was used, replaced or has ended."""
    return (
        Member.objects.select_related("consumer", "user")
        .filter(link_digest=_digest(secret), link_ends__gt=timezone.now())
        .first()
    )


def use_link(secret: str, *, password: str = "", user: Any = None) -> Any:
    """Use a link up, and return the user it has made a member: `user`, or one with this password.

    Raises NotPossible.
    """
    with transaction.atomic():
        member = Member.objects.select_for_update().filter(link_digest=_digest(secret)).first()
        if member is None or member.link_ends is None or member.link_ends <= timezone.now():
            raise NotPossible(_("This link has been used, was replaced, or has expired."))
        if member.user is not None:
            _set_password(member.user, password)
        elif user is not None:
            _check_is_free(user)
            member.user = user
        else:
            member.user = _create_user(member.email, password)
        member.joined_at = member.joined_at or timezone.now()
        member.link_digest = member.link_ends = None
        member.save()
        return member.user


def delete_account(user_id: int | None) -> None:
    """Delete the account of somebody who was a member, unless it has rights of its own."""
    if user_id is None:
        return
    users = get_user_model()._default_manager.filter(pk=user_id, is_staff=False, is_superuser=False, groups=None)
    users.filter(member=None).delete()


def _create_user(email: str, password: str) -> Any:
    users = get_user_model()._default_manager
    if users.filter(username__iexact=email).exists():
        raise NotPossible(
            _("There is an account with this address already. Sign in with it, then open the link again.")
        )
    return users.create_user(username=email, email=email, password=password)


def _set_password(user: Any, password: str) -> None:
    if user.is_staff or not user.is_active:
        raise NotPossible(_("The password of this account is not set here."))
    if not password:
        raise NotPossible(_("This link sets a password."))
    user.set_password(password)
    user.save(update_fields=["password"])


def _check_is_free(user: Any) -> None:
    if Member.objects.filter(user=user).exists():
        raise NotPossible(_("Your account is a member of a consumer already."))


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
