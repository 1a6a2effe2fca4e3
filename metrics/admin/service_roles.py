"""Roles of staff for some services, which superusers give, as they do accounts and groups."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from metrics.audit import record_operation, staff_actor
from routing.admin.guarded_form import GuardedFieldsets, GuardedForm
from routing.admin.setting_fields.base import UNSET
from routing.admin.setting_fields.lists import Named, Words
from routing.admin.setting_fields.suggestions import service_names
from routing.models import ServiceRole
from routing.pages.site import admin_site

GIVEN, CHANGED, TAKEN = "account.service_role_given", "account.service_role_changed", "account.service_role_taken"


class ServiceRoleForm(GuardedForm):
    services = Words(
        label=_("Services"), help_text=_("by name, also if they are added later"), suggestions=service_names
    )
    labels = Named(
        label=_("Labels"),
        help_text=_("one name: value in a line, such as team: payments; all services that have all of these labels"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if isinstance(field, Words | Named):
                self.initial[name] = field.show(getattr(self.instance, name) or UNSET)

    def clean_services(self) -> Any:
        found = self.cleaned_data["services"]
        return [] if found is UNSET else found

    def clean_labels(self) -> Any:
        found = self.cleaned_data["labels"]
        return {} if found is UNSET else found


@admin.register(ServiceRole, site=admin_site())
class ServiceRoleAdmin(GuardedFieldsets, ModelAdmin):
    form = ServiceRoleForm
    list_display = ("holder", "role", "of")
    list_display_links = ("holder",)
    list_filter = ("role",)
    list_select_related = ("user", "group")
    search_fields = ("services", "labels")
    fieldsets = ((None, {"fields": (("user", "group"), "role", "services", "labels")}),)

    class Media:
        js = (Script("forms/settings.js", type="module"),)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return _is_superuser(request)

    @admin.display(description=_("given to"))
    def holder(self, role: ServiceRole) -> str:
        return role.holder

    @admin.display(description=_("services"))
    def of(self, role: ServiceRole) -> str:
        return role.of

    def save_model(self, request: HttpRequest, obj: ServiceRole, form: Any, change: bool) -> None:
        stored = ServiceRole.objects.filter(pk=obj.pk).first() if change else None
        before = stored.to_document() if stored else None
        super().save_model(request, obj, form, change)
        record_operation(
            staff_actor(request.user), CHANGED if change else GIVEN, before=before, after=obj.to_document()
        )

    def delete_model(self, request: HttpRequest, obj: ServiceRole) -> None:
        record_operation(staff_actor(request.user), TAKEN, before=obj.to_document())
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: "models.QuerySet[ServiceRole]") -> None:
        for role in queryset:
            self.delete_model(request, role)


def _is_superuser(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.is_active and user.is_staff and user.is_superuser)
