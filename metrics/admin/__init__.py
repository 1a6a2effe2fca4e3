"""Admin pages for operations: circuits, cache, configuration history, audit log, request explanation and users."""

from metrics.admin import audit_log, cache, circuits, history, users

__all__ = ["audit_log", "cache", "circuits", "history", "users"]
