"""Sign-in of staff with the company's identity provider (OpenID Connect), second factors and sessions (ADR 34).

Installed only if the environment configures it. The flow of a login, second factors and the list of sessions are
django-allauth's; what a provider says is verified here.
"""
