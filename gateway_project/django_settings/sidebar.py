"""Who may open the pages that the admin's sidebar leads to."""

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest

from routing.models import ServiceRole
from routing.pages.site import admin_site
from routing.rights import Right, is_any, may, services


def may_view_gateway(request: HttpRequest) -> bool:
    return may(request.user, Right.VIEW)


def may_view_services(request: HttpRequest) -> bool:
    """All of them or some."""
    return is_any(services(request.user, Right.VIEW))


def may_view_deliveries(request: HttpRequest) -> bool:
    return is_any(services(request.user, Right.OPERATE))


def may_view_service_roles(request: HttpRequest) -> bool:
    return admin_site().get_model_admin(ServiceRole).has_view_permission(request)


def may_view_sessions(request: HttpRequest) -> bool:
    return may(request.user, Right.CONFIGURE)


def may_view_second_factors(request: HttpRequest) -> bool:
    return may(request.user, Right.CONFIGURE) and bool(request.user.is_superuser)


def may_view_users(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(User).has_view_or_change_permission(request)


def may_view_groups(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Group).has_view_or_change_permission(request)
