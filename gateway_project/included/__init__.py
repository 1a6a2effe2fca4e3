"""The gateway as a part of another team's Django project (docs/django-project.md).

The project keeps its settings, users, admin, templates, middleware and URLs. Its server runs the gateway too.
"""
