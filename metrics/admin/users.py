"""Django's user and group pages in the Unfold theme. Who may do what is in the audit log."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from metrics.admin.recorded import RecordedMixin
from routing.admin.guarded_form import GuardedFieldsets, GuardedForm
from routing.models import ServiceRole

if TYPE_CHECKING:
    _UserAdmin = DjangoUserAdmin[User]
else:
    _UserAdmin = DjangoUserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


class UserForm(GuardedForm, UserChangeForm):
    """A sign-in changes the time of the last one, and may store the password with another hasher."""

    unguarded = frozenset({"last_login", "password"})


@admin.register(User)
class UserAdmin(GuardedFieldsets, RecordedMixin, _UserAdmin, ModelAdmin):
    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    noun = "account"

    def document_of(self, row: User) -> dict[str, Any]:
        flags = {name: getattr(row, name) for name in ("is_active", "is_staff", "is_superuser")}
        names = {name: value for name in ("email", "first_name", "last_name") if (value := getattr(row, name))}
        groups = sorted(row.groups.values_list("name", flat=True))
        permissions = _permissions(row.user_permissions.all())
        return {"user": row.get_username(), **names, **flags, "groups": groups, **permissions, **_roles(user=row)}

    def secret_of(self, row: User) -> str:
        return row.password


@admin.register(Group)
class GroupAdmin(GuardedFieldsets, RecordedMixin, DjangoGroupAdmin, ModelAdmin):
    form = GuardedForm
    noun = "group"

    def document_of(self, row: Group) -> dict[str, Any]:
        return {"name": row.name, **_permissions(row.permissions.all()), **_roles(group=row)}


def _permissions(rows: models.QuerySet[Permission]) -> dict[str, list[str]]:
    """Django's permissions, such as `routing.view_gateway`, under `permissions`; empty if there are none."""
    found = rows.values_list("content_type__app_label", "codename")
    return {"permissions": sorted(f"{app}.{name}" for app, name in found)} if found else {}


def _roles(**holder: Any) -> dict[str, list[dict[str, Any]]]:
    """The holder's roles for services, which are deleted with it, under `service_roles`; empty if there are none."""
    found = [role.to_document() for role in ServiceRole.objects.filter(**holder)]
    return {"service_roles": found} if found else {}
