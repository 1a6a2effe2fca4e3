"""The Django user of a person who has signed in with the provider, and the role that their groups give."""

from typing import Final

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy

from metrics.audit import record_operation, staff_actor
from metrics.models import Identity
from metrics.sign_in.claims import Person, Refused
from metrics.sign_in.policy import Role
from routing.models import ServiceRole

_ROLES: Final = frozenset(Role)
_ATTEMPTS: Final = 3


def find_user(person: Person) -> User | None:
    identity = Identity.objects.select_related("user").filter(issuer=person.issuer, subject=person.subject).first()
    return None if identity is None else identity.user


def user_of(person: Person) -> User:
    """The person's user, created at the first sign-in. Raises Refused if the account is switched off."""
    for _ in range(_ATTEMPTS):
        user = find_user(person)
        if user is None:
            try:
                user = _create(person)
            except IntegrityError:  # signed in twice at once, or another took the user name
                continue
        _check_active(user)
        _update(user, person)
        return user
    raise Refused(gettext_lazy("Your account could not be created. Try again."))


def connect(user: User, person: Person) -> None:
    """Let the person sign in to an account that exists. Raises Refused if they have another one."""
    owner = find_user(person)
    if owner is not None and owner != user:
        raise Refused(gettext_lazy("This identity belongs to another account of the gateway."))
    if owner is None:
        Identity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
        record_operation(staff_actor(user), "account.connected", after={"issuer": person.issuer})


def existing_teams(names: frozenset[str]) -> frozenset[str]:
    """Those of these groups that there are, and that have roles for services."""
    found = Group.objects.filter(name__in=names, pk__in=_with_service_roles())
    return frozenset(found.values_list("name", flat=True)) - _ROLES


def set_role(user: User, role: Role | None, teams: frozenset[str] = frozenset()) -> None:
    """Make this the user's only role, and these the only groups with roles for services; without any, they are not
    staff. Other groups of the user stay.

    A superuser with a password was made here, for when there is no provider, and is left alone.
    """
    if user.is_superuser and user.has_usable_password():
        return
    managed = _ROLES | set(Group.objects.filter(pk__in=_with_service_roles()).values_list("name", flat=True))
    present = {group.name for group in user.groups.all()} & managed
    wanted = {*teams, *(() if role is None else (str(role),))}
    is_staff = bool(wanted)
    if present == wanted and user.is_staff is is_staff:
        return
    with transaction.atomic():
        user.groups.remove(*Group.objects.filter(name__in=present - wanted))
        user.groups.add(*Group.objects.filter(name__in=wanted - present))
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])
        before, after = sorted(present), sorted(wanted)
        record_operation(staff_actor(user), "account.role_changed", before={"roles": before}, after={"roles": after})


def _with_service_roles() -> QuerySet[ServiceRole, int | None]:
    """The primary keys of groups."""
    return ServiceRole.objects.exclude(group=None).values_list("group", flat=True)


def _check_active(user: User) -> None:
    if not user.is_active:
        raise Refused(gettext_lazy("Your account is switched off. Ask an owner of the gateway."))


def _create(person: Person) -> User:
    with transaction.atomic():
        user = User(username=_free_username(person.username), email=person.email)
        user.set_unusable_password()
        user.save()
        Identity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
        record_operation(staff_actor(user), "account.created", after={"issuer": person.issuer})
    return user


def _free_username(wanted: str) -> str:
    """The name, or one with a number: a user who has it already is somebody else."""
    taken = {
        name.lower() for name in User.objects.filter(username__istartswith=wanted).values_list("username", flat=True)
    }
    if wanted.lower() not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}").lower() not in taken)


def _update(user: User, person: Person) -> None:
    """Names follow the provider. An account with a password keeps its address, of which the provider knows nothing."""
    changed = {"first_name": person.first_name, "last_name": person.last_name}
    if not user.has_usable_password():
        changed["email"] = person.email
    names = [name for name, value in changed.items() if getattr(user, name) != value]
    for name in names:
        setattr(user, name, changed[name])
    if names:
        user.save(update_fields=names)
    Identity.objects.filter(issuer=person.issuer, subject=person.subject).update(last_login=timezone.now())
