"""The portal's pages."""

from django.urls import path, re_path

from metrics.portal import keys, people, plan, sign_in, usage, views

app_name = "portal"
_KEY = r"^keys/(?P<prefix>[a-z2-7]{8})/"

urlpatterns = [
    path("", views.overview_page, name="overview"),
    path("login/", sign_in.login_page, name="login"),
    path("logout/", sign_in.log_out, name="logout"),
    path("password/", sign_in.password_page, name="password"),
    path("invitations/<str:secret>/", sign_in.invitation_page, name="invitation"),
    path("services/<str:name>/", views.service_page, name="service"),
    path("services/<str:name>/openapi.json", views.document_json, name="document"),
    path("keys/", keys.keys_page, name="keys"),
    re_path(rf"{_KEY}$", keys.key_page, name="key"),
    re_path(rf"{_KEY}rotate/$", keys.rotate_key, name="rotate"),
    re_path(rf"{_KEY}services/$", keys.change_services, name="key-services"),
    re_path(rf"{_KEY}revoke/$", keys.revoke_key, name="revoke"),
    path("usage/", usage.usage_page, name="usage"),
    path("errors/", views.errors_page, name="errors"),
    path("plan/", plan.plan_page, name="plan"),
    path("plan/withdraw/", plan.withdraw_request, name="withdraw"),
    path("members/", people.members_page, name="members"),
    path("members/invite/", people.invite_member, name="invite"),
    path("members/<int:number>/renew/", people.renew_invitation, name="renew"),
    path("members/<int:number>/remove/", people.remove_member, name="remove"),
]
